// SPDX-License-Identifier: GPL-2.0
/*
 * The generic netlink family "kcgcs" (include/uapi/kcgcs_netlink.h): who may
 * call, which attributes are allowed, and the headers of the answers.
 * netlink.rs carries out the commands and writes the attributes.
 */
#include <linux/module.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include <uapi/kcgcs_netlink.h>

#include "kcgcs_internal.h"

/* Longest texts in a start request, in bytes. */
#define KCGCS_CLUSTER_TEXT_MAX 32
#define KCGCS_ADDRESS_TEXT_MAX 64
#define KCGCS_SETTING_NAME_MAX 32
#define KCGCS_DETECTOR_TEXT_MAX 32
/* Room for all settings and counters. */
#define KCGCS_NODE_ANSWER_SIZE (16 * 1024)

static struct genl_family kcgcs_family;

static const struct nla_policy kcgcs_setting_policy[KCGCS_ATTR_MAX + 1] = {
	[KCGCS_ATTR_NAME] = { .type = NLA_NUL_STRING,
			      .len = KCGCS_SETTING_NAME_MAX },
	[KCGCS_ATTR_VALUE] = { .type = NLA_U64 },
};

static const struct nla_policy kcgcs_start_policy[KCGCS_ATTR_MAX + 1] = {
	[KCGCS_ATTR_CLUSTER] = { .type = NLA_NUL_STRING,
				 .len = KCGCS_CLUSTER_TEXT_MAX },
	[KCGCS_ATTR_NODE_ID] = { .type = NLA_U16 },
	[KCGCS_ATTR_ADDRESS] = { .type = NLA_NUL_STRING,
				 .len = KCGCS_ADDRESS_TEXT_MAX },
	[KCGCS_ATTR_PEERS] = { .type = NLA_NUL_STRING },
	[KCGCS_ATTR_SETTING] = NLA_POLICY_NESTED(kcgcs_setting_policy),
	[KCGCS_ATTR_DETECTOR] = { .type = NLA_NUL_STRING,
				  .len = KCGCS_DETECTOR_TEXT_MAX },
};

static const struct nla_policy kcgcs_evict_policy[KCGCS_ATTR_NODE_ID + 1] = {
	[KCGCS_ATTR_NODE_ID] = { .type = NLA_U16 },
};

static const struct nla_policy kcgcs_pin_policy[KCGCS_ATTR_SPAN_MS + 1] = {
	[KCGCS_ATTR_SPAN_MS] = { .type = NLA_U32 },
};

static const struct nla_policy kcgcs_no_policy[1] = {};

static int kcgcs_read_setting(struct nlattr *nest,
			      struct kcgcs_request *request,
			      struct netlink_ext_ack *extack)
{
	struct nlattr *fields[KCGCS_ATTR_MAX + 1];
	struct kcgcs_request_setting *setting;
	int error;

	error = nla_parse_nested(fields, KCGCS_ATTR_MAX, nest,
				 kcgcs_setting_policy, extack);
	if (error)
		return error;
	if (!fields[KCGCS_ATTR_NAME] || !fields[KCGCS_ATTR_VALUE]) {
		NL_SET_ERR_MSG_ATTR(extack, nest, "a setting needs a name and a value");
		return -EINVAL;
	}
	if (request->setting_count >= KCGCS_REQUEST_SETTINGS_MAX) {
		NL_SET_ERR_MSG_ATTR(extack, nest, "more than 32 settings");
		return -EINVAL;
	}
	setting = &request->settings[request->setting_count++];
	setting->name = nla_data(fields[KCGCS_ATTR_NAME]);
	setting->value = nla_get_u64(fields[KCGCS_ATTR_VALUE]);
	return 0;
}

static const char *kcgcs_text(struct nlattr *attribute)
{
	return attribute ? nla_data(attribute) : NULL;
}

/* Returns the error of a command, with its complaint for the caller. */
static int kcgcs_complain(struct netlink_ext_ack *extack, int error,
			  const char *message)
{
	if (error)
		NL_SET_ERR_MSG_FMT(extack, "%s", message);
	return error;
}

static int kcgcs_node_start(struct sk_buff *skb, struct genl_info *info)
{
	char message[KCGCS_MESSAGE_SIZE] = "";
	struct kcgcs_request *request;
	struct nlattr *attribute;
	int error = 0;
	int rest;

	request = kzalloc_obj(*request);
	if (!request)
		return -ENOMEM;
	nlmsg_for_each_attr(attribute, info->nlhdr,
			    GENL_HDRLEN + kcgcs_family.hdrsize, rest) {
		if (nla_type(attribute) != KCGCS_ATTR_SETTING)
			continue;
		error = kcgcs_read_setting(attribute, request, info->extack);
		if (error)
			goto out;
	}
	request->cluster = kcgcs_text(info->attrs[KCGCS_ATTR_CLUSTER]);
	request->address = kcgcs_text(info->attrs[KCGCS_ATTR_ADDRESS]);
	request->peers = kcgcs_text(info->attrs[KCGCS_ATTR_PEERS]);
	request->detector = kcgcs_text(info->attrs[KCGCS_ATTR_DETECTOR]);
	if (info->attrs[KCGCS_ATTR_NODE_ID])
		request->node_id = nla_get_u16(info->attrs[KCGCS_ATTR_NODE_ID]);
	error = kcgcs_netlink_start(genl_info_net(info), request, message);
	kcgcs_complain(info->extack, error, message);
out:
	kfree(request);
	return error;
}

static int kcgcs_node_stop(struct sk_buff *skb, struct genl_info *info)
{
	char message[KCGCS_MESSAGE_SIZE] = "";
	int error = kcgcs_netlink_stop(genl_info_net(info), message);

	return kcgcs_complain(info->extack, error, message);
}

static int kcgcs_evict(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *node = info->attrs[KCGCS_ATTR_NODE_ID];
	char message[KCGCS_MESSAGE_SIZE] = "";
	int error;

	if (GENL_REQ_ATTR_CHECK(info, KCGCS_ATTR_NODE_ID))
		return -EINVAL;
	error = kcgcs_netlink_evict(genl_info_net(info), nla_get_u16(node),
				    message);
	return kcgcs_complain(info->extack, error, message);
}

static int kcgcs_pin(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *span = info->attrs[KCGCS_ATTR_SPAN_MS];
	char message[KCGCS_MESSAGE_SIZE] = "";
	int error;

	if (GENL_REQ_ATTR_CHECK(info, KCGCS_ATTR_SPAN_MS))
		return -EINVAL;
	error = kcgcs_netlink_pin(genl_info_net(info), nla_get_u32(span),
				  message);
	return kcgcs_complain(info->extack, error, message);
}

static int kcgcs_node_get(struct sk_buff *skb, struct genl_info *info)
{
	char message[KCGCS_MESSAGE_SIZE] = "";
	struct sk_buff *answer;
	void *header;
	int error;

	answer = genlmsg_new(KCGCS_NODE_ANSWER_SIZE, GFP_KERNEL);
	if (!answer)
		return -ENOMEM;
	header = genlmsg_put_reply(answer, info, &kcgcs_family, 0,
				   KCGCS_CMD_NODE_GET);
	if (!header) {
		nlmsg_free(answer);
		return -EMSGSIZE;
	}
	error = kcgcs_netlink_put(genl_info_net(info), answer,
				  KCGCS_CMD_NODE_GET, 0, NULL, message);
	if (error) {
		nlmsg_free(answer);
		return kcgcs_complain(info->extack, error, message);
	}
	genlmsg_end(answer, header);
	return genlmsg_reply(answer, info);
}

/*
 * Writes one member, group or neighbour to each message, from number
 * cb->args[0] on.  If the list has changed since the last call for this dump,
 * the message is marked as inconsistent.
 */
static int kcgcs_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	u8 command = genl_dumpit_info(cb)->op.cmd;
	char message[KCGCS_MESSAGE_SIZE] = "";
	struct net *net = sock_net(skb->sk);
	void *header;
	int error;

	for (;; cb->args[0]++) {
		header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
				     cb->nlh->nlmsg_seq, &kcgcs_family,
				     NLM_F_MULTI, command);
		if (!header) {
			error = -EMSGSIZE;
			break;
		}
		error = kcgcs_netlink_put(net, skb, command, cb->args[0],
					  &cb->seq, message);
		genl_dump_check_consistent(cb, header);
		if (error) {
			genlmsg_cancel(skb, header);
			break;
		}
		genlmsg_end(skb, header);
	}
	if (error == -ENODATA || (error == -EMSGSIZE && skb->len))
		return skb->len;
	return kcgcs_complain(cb->extack, error, message);
}

static const struct genl_split_ops kcgcs_operations[] = {
	{
		.cmd = KCGCS_CMD_NODE_START,
		.doit = kcgcs_node_start,
		.policy = kcgcs_start_policy,
		.maxattr = KCGCS_ATTR_MAX,
		.flags = GENL_CMD_CAP_DO | GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = KCGCS_CMD_NODE_STOP,
		.doit = kcgcs_node_stop,
		.policy = kcgcs_no_policy,
		.maxattr = 0,
		.flags = GENL_CMD_CAP_DO | GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = KCGCS_CMD_NODE_GET,
		.doit = kcgcs_node_get,
		.policy = kcgcs_no_policy,
		.maxattr = 0,
		.flags = GENL_CMD_CAP_DO,
	},
	{
		.cmd = KCGCS_CMD_VIEW_GET,
		.dumpit = kcgcs_dump,
		.policy = kcgcs_no_policy,
		.maxattr = 0,
		.flags = GENL_CMD_CAP_DUMP,
	},
	{
		.cmd = KCGCS_CMD_GROUP_GET,
		.dumpit = kcgcs_dump,
		.policy = kcgcs_no_policy,
		.maxattr = 0,
		.flags = GENL_CMD_CAP_DUMP,
	},
	{
		.cmd = KCGCS_CMD_EVICT,
		.doit = kcgcs_evict,
		.policy = kcgcs_evict_policy,
		.maxattr = KCGCS_ATTR_NODE_ID,
		.flags = GENL_CMD_CAP_DO | GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = KCGCS_CMD_PIN,
		.doit = kcgcs_pin,
		.policy = kcgcs_pin_policy,
		.maxattr = KCGCS_ATTR_SPAN_MS,
		.flags = GENL_CMD_CAP_DO | GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = KCGCS_CMD_DELAY_GET,
		.dumpit = kcgcs_dump,
		.policy = kcgcs_no_policy,
		.maxattr = 0,
		.flags = GENL_CMD_CAP_DUMP,
	},
};

static struct genl_family kcgcs_family __ro_after_init = {
	.name = KCGCS_GENL_NAME,
	.version = KCGCS_GENL_VERSION,
	.module = THIS_MODULE,
	.netnsok = true,
	/* A stop waits for the cluster; other commands need not wait with it. */
	.parallel_ops = true,
	.split_ops = kcgcs_operations,
	.n_split_ops = ARRAY_SIZE(kcgcs_operations),
	.resv_start_op = KCGCS_CMD_NODE_START,
};

int kcgcs_put_u8(struct sk_buff *skb, int attribute, u8 value)
{
	return nla_put_u8(skb, attribute, value);
}

int kcgcs_put_u16(struct sk_buff *skb, int attribute, u16 value)
{
	return nla_put_u16(skb, attribute, value);
}

int kcgcs_put_u32(struct sk_buff *skb, int attribute, u32 value)
{
	return nla_put_u32(skb, attribute, value);
}

int kcgcs_put_u64(struct sk_buff *skb, int attribute, u64 value)
{
	return nla_put_u64_64bit(skb, attribute, value, KCGCS_ATTR_PAD);
}

int kcgcs_put_numbers(struct sk_buff *skb, int attribute, const u32 *numbers,
		      u32 count)
{
	return nla_put(skb, attribute, count * sizeof(*numbers), numbers);
}

/* Appends a zero to the text, which has none. */
int kcgcs_put_text(struct sk_buff *skb, int attribute, const u8 *text,
		   u32 length)
{
	struct nlattr *place = nla_reserve(skb, attribute, length + 1);

	if (!place)
		return -EMSGSIZE;
	memcpy(nla_data(place), text, length);
	((u8 *)nla_data(place))[length] = 0;
	return 0;
}

/* Appends a nest of a name and a value. */
int kcgcs_put_pair(struct sk_buff *skb, int attribute, const u8 *name,
		   u32 length, u64 value)
{
	struct nlattr *nest = nla_nest_start(skb, attribute);

	if (!nest)
		return -EMSGSIZE;
	if (kcgcs_put_text(skb, KCGCS_ATTR_NAME, name, length) ||
	    kcgcs_put_u64(skb, KCGCS_ATTR_VALUE, value)) {
		nla_nest_cancel(skb, nest);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

int kcgcs_netlink_register(void)
{
	return genl_register_family(&kcgcs_family);
}

void kcgcs_netlink_unregister(void)
{
	genl_unregister_family(&kcgcs_family);
}
