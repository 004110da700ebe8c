// SPDX-License-Identifier: GPL-2.0
/*
 * The parameters of the module: the node to start when it is loaded.
 *
 * With node_id and address given, loading the module starts a node in the
 * initial network namespace; without them it starts none.  The Rust side checks
 * all values (node/settings.rs) and has the defaults.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "kcgcs_internal.h"

/*
 * One text.  The kernel's charp refuses texts of more than 1024 bytes, and a
 * list of peers may be longer.  The kernel frees the text that it hands over
 * before the module is initialised, hence the copy.
 */
struct kcgcs_text {
	const char *text;
	char *copy;
};

static int kcgcs_copy_text(struct kcgcs_text *place, const char *text)
{
	char *copy = kstrdup(text ?: "", GFP_KERNEL);

	if (!copy)
		return -ENOMEM;
	kfree(place->copy);
	place->copy = copy;
	place->text = copy;
	return 0;
}

static int kcgcs_set_text(const char *text, const struct kernel_param *param)
{
	return kcgcs_copy_text(param->arg, text);
}

static int kcgcs_get_text(char *buffer, const struct kernel_param *param)
{
	const struct kcgcs_text *place = param->arg;

	return sysfs_emit(buffer, "%s\n", place->text);
}

/* Called when the module goes away. */
static void kcgcs_free_text(void *arg)
{
	struct kcgcs_text *place = arg;

	kfree(place->copy);
}

/* A missing value is no error here: the Rust side says what is allowed. */
static const struct kernel_param_ops kcgcs_text_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = kcgcs_set_text,
	.get = kcgcs_get_text,
	.free = kcgcs_free_text,
};

#define KCGCS_TEXT(parameter, default, description)			\
	static struct kcgcs_text kcgcs_text_##parameter = {		\
		.text = default,					\
	};								\
	module_param_cb(parameter, &kcgcs_text_ops,			\
			&kcgcs_text_##parameter, 0444);			\
	__MODULE_PARM_TYPE(parameter, "string");			\
	MODULE_PARM_DESC(parameter, description)

KCGCS_TEXT(cluster, "kcgcs",
	   "Name of the cluster, 1 to 32 bytes (default kcgcs)");
KCGCS_TEXT(detector, "ring",
	   "Failure detector: ring or gossip, the same on all nodes (default ring)");
KCGCS_TEXT(address, "",
	   "Own address: IP[:port], IPv6 with a port as [IP]:port (default port 5407)");
KCGCS_TEXT(peers, "",
	   "Addresses of the other nodes, comma separated, up to 1024 (own address allowed)");

/*
 * One number.  It is KCGCS_SETTING_NOT_GIVEN until the Rust side fills in the
 * default, and KCGCS_SETTING_UNREADABLE if the given text is no number.
 */
struct kcgcs_setting {
	const char *name;
	struct kcgcs_text unreadable;
	unsigned int value;
};

/*
 * The Rust side refuses an unreadable number, and logs what is allowed; the
 * kernel would only log that the parameter is wrong.
 */
static int kcgcs_set_setting(const char *text, const struct kernel_param *param)
{
	struct kcgcs_setting *setting = param->arg;

	if (!text || kstrtouint(text, 0, &setting->value) ||
	    setting->value >= KCGCS_SETTING_UNREADABLE) {
		setting->value = KCGCS_SETTING_UNREADABLE;
		return kcgcs_copy_text(&setting->unreadable, text);
	}
	return 0;
}

static void kcgcs_free_setting(void *arg)
{
	struct kcgcs_setting *setting = arg;

	kcgcs_free_text(&setting->unreadable);
}

static int kcgcs_get_setting(char *buffer, const struct kernel_param *param)
{
	const struct kcgcs_setting *setting = param->arg;

	return sysfs_emit(buffer, "%u\n", setting->value);
}

static const struct kernel_param_ops kcgcs_setting_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = kcgcs_set_setting,
	.get = kcgcs_get_setting,
	.free = kcgcs_free_setting,
};

#define KCGCS_SETTING(setting, description)				\
	static struct kcgcs_setting kcgcs_setting_##setting = {		\
		.name = #setting,					\
		.value = KCGCS_SETTING_NOT_GIVEN,			\
	};								\
	module_param_cb(setting, &kcgcs_setting_ops,			\
			&kcgcs_setting_##setting, 0444);		\
	__MODULE_PARM_TYPE(setting, "uint");				\
	MODULE_PARM_DESC(setting, description)

KCGCS_SETTING(node_id,
	      "Number of this node, 1 to 65535, unique in the cluster");
KCGCS_SETTING(heartbeat_interval_ms,
	      "Milliseconds between two heartbeats to the same monitor, 10 to 10000 (default 160)");
KCGCS_SETTING(heartbeat_slack_ms,
	      "Milliseconds that a heartbeat may be late, 1 to 10000 (default 15)");
KCGCS_SETTING(window_heartbeats,
	      "Heartbeats in the window in which misses are counted, 1 to 32 (default 1)");
KCGCS_SETTING(window_misses,
	      "Misses within the window that start probes, 1 to window_heartbeats (default 1)");
KCGCS_SETTING(probe_count,
	      "Direct probes to a silent node before it is accused, 0 to 10 (default 4)");
KCGCS_SETTING(probe_interval_ms,
	      "Milliseconds between two probes, 1 to 10000 (default 25)");
KCGCS_SETTING(rings,
	      "Nodes that monitor each node, 1 to 8 (default 3)");
KCGCS_SETTING(confirmations,
	      "Monitors that must accuse a node before it is excluded, or all if it has fewer, 1 to 8 (default 2)");
KCGCS_SETTING(confirmation_timeout_ms,
	      "Milliseconds after an accusation before suspicions count as accusations, 1 to 60000 (default 500)");
KCGCS_SETTING(coordinators,
	      "Coordinators in a view, 1 to 9 (default 5)");
KCGCS_SETTING(batching_ms,
	      "Milliseconds for which changes are collected before a proposal, 0 to 10000 (default 10)");
KCGCS_SETTING(retransmit_ms,
	      "Milliseconds before an unanswered message is sent again, 1 to 10000 (default 30)");
KCGCS_SETTING(takeover_ms,
	      "Milliseconds that the next coordinator waits for the one before it, 1 to 60000 (default 100)");
KCGCS_SETTING(formation_ms,
	      "Milliseconds for which a starting node collects others, 1 to 60000 (default 250)");
KCGCS_SETTING(blocked_timeout_ms,
	      "Milliseconds without a quorum before a node gives up its view, if members have restarted or the cluster is partitionable, 100 to 3600000 (default 5000)");
KCGCS_SETTING(expected_nodes,
	      "Number of nodes of which a majority forms the first view, 0 to 1024; 0: this node and its peers (default 0)");
KCGCS_SETTING(wait_for_all,
	      "Whether the first view waits for all expected nodes instead of a majority, 0 to 1 (default 0)");
KCGCS_SETTING(even_split,
	      "Whether, of two equal halves of a view, the one with the lowest node keeps the quorum, 0 to 1 (default 1)");
KCGCS_SETTING(partitionable,
	      "Whether a component without a quorum goes on with views that are not primary, 0 to 1 (default 0)");

static struct kcgcs_setting *kcgcs_settings[] = {
	&kcgcs_setting_node_id,
	&kcgcs_setting_heartbeat_interval_ms,
	&kcgcs_setting_heartbeat_slack_ms,
	&kcgcs_setting_window_heartbeats,
	&kcgcs_setting_window_misses,
	&kcgcs_setting_probe_count,
	&kcgcs_setting_probe_interval_ms,
	&kcgcs_setting_rings,
	&kcgcs_setting_confirmations,
	&kcgcs_setting_confirmation_timeout_ms,
	&kcgcs_setting_coordinators,
	&kcgcs_setting_batching_ms,
	&kcgcs_setting_retransmit_ms,
	&kcgcs_setting_takeover_ms,
	&kcgcs_setting_formation_ms,
	&kcgcs_setting_blocked_timeout_ms,
	&kcgcs_setting_expected_nodes,
	&kcgcs_setting_wait_for_all,
	&kcgcs_setting_even_split,
	&kcgcs_setting_partitionable,
};

static int kcgcs_set_nothing(const char *text, const struct kernel_param *param)
{
	return -EPERM;
}

static int kcgcs_get_live_objects(char *buffer, const struct kernel_param *param)
{
	return kcgcs_live_objects_text(buffer, PAGE_SIZE);
}

static const struct kernel_param_ops kcgcs_live_objects_ops = {
	.set = kcgcs_set_nothing,
	.get = kcgcs_get_live_objects,
};
module_param_cb(live_objects, &kcgcs_live_objects_ops, NULL, 0444);
MODULE_PARM_DESC(live_objects, "Read only: objects of this module that exist now");

const char *kcgcs_parameter_cluster(void)
{
	return kcgcs_text_cluster.text;
}

const char *kcgcs_parameter_detector(void)
{
	return kcgcs_text_detector.text;
}

const char *kcgcs_parameter_address(void)
{
	return kcgcs_text_address.text;
}

const char *kcgcs_parameter_peers(void)
{
	return kcgcs_text_peers.text;
}

static struct kcgcs_setting *kcgcs_find_setting(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kcgcs_settings); i++)
		if (!strcmp(kcgcs_settings[i]->name, name))
			return kcgcs_settings[i];
	return NULL;
}

/* The address of a setting's value, or NULL if there is no such setting. */
unsigned int *kcgcs_parameter_setting(const char *name)
{
	struct kcgcs_setting *setting = kcgcs_find_setting(name);

	return setting ? &setting->value : NULL;
}

/* The text given for a setting that is no number, or NULL. */
const char *kcgcs_parameter_unreadable(const char *name)
{
	struct kcgcs_setting *setting = kcgcs_find_setting(name);

	return setting ? setting->unreadable.text : NULL;
}
