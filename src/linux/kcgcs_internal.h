/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The functions and types that the C files and the Rust files of this module
 * share.  The Rust side gets them by bindgen (ffi.rs), which needs plain types.
 */
#ifndef _KCGCS_INTERNAL_H
#define _KCGCS_INTERNAL_H

#include <linux/types.h>

struct blocking_notifier_head;
struct net;
struct sk_buff;
struct spinlock;
struct kcgcs_socket;

/*
 * Number of datagrams that may wait for the engine of a node, and bytes of
 * memory that they may take: so many full Ethernet frames take less.
 */
#define KCGCS_QUEUED_DATAGRAMS_MAX 2048
#define KCGCS_QUEUED_BYTES_MAX (16 * 1024 * 1024)

/* network/kcgcs_socket.c: a UDP socket that receives in soft interrupts. */
struct kcgcs_datagram {
	u8 address[16];
	u16 port;
	u16 length;
	const u8 *payload;
};

int kcgcs_socket_bind(struct net *net, const u8 *address, u16 port,
		      struct kcgcs_socket **result);
void kcgcs_socket_start(struct kcgcs_socket *socket, void *context);
void kcgcs_socket_close(struct kcgcs_socket *socket);
void kcgcs_socket_free(struct kcgcs_socket *socket);
int kcgcs_socket_transmit(struct kcgcs_socket *socket, const u8 *address,
			  u16 port, const void *payload, u32 length,
			  bool urgent);
struct sk_buff *kcgcs_socket_take(struct kcgcs_socket *socket,
				  struct kcgcs_datagram *datagram);
void kcgcs_socket_give_back(struct sk_buff *skb);
u64 kcgcs_socket_overflows(const struct kcgcs_socket *socket);
int kcgcs_live_datagrams(void);

/*
 * node/bottom_half.rs: handles a received datagram.  Return: true if it is to
 * be queued for the engine.
 */
bool kcgcs_receive(void *context, const u8 *address, u16 port,
		   const u8 *payload, u32 length);
/* node/bottom_half.rs: wakes the engine for a datagram that was queued. */
void kcgcs_received(void *context);

/* control/kcgcs_parameters.c: what the operator gave at load time. */
#define KCGCS_SETTING_NOT_GIVEN 0xffffffffU
#define KCGCS_SETTING_UNREADABLE 0xfffffffeU

const char *kcgcs_parameter_cluster(void);
const char *kcgcs_parameter_detector(void);
const char *kcgcs_parameter_address(void);
const char *kcgcs_parameter_peers(void);
unsigned int *kcgcs_parameter_setting(const char *name);
const char *kcgcs_parameter_unreadable(const char *name);

/* observability/live_objects.rs: writes the text of the parameter. */
int kcgcs_live_objects_text(char *buffer, size_t size);

/* node/kcgcs_namespace.c: reports when a network namespace goes away. */
int kcgcs_namespaces_register(void);
void kcgcs_namespaces_unregister(void);

/*
 * node/registry.rs: before and after the RCU grace period in which packet
 * receivers finish.
 */
void kcgcs_namespace_pre_exit(struct net *net);
void kcgcs_namespace_exit(struct net *net);

/* control/kcgcs_netlink.c: the generic netlink family. */
#define KCGCS_MESSAGE_SIZE 80
#define KCGCS_REQUEST_SETTINGS_MAX 32

struct kcgcs_request_setting {
	const char *name;
	u64 value;
};

struct kcgcs_request {
	const char *cluster;
	const char *address;
	const char *peers;
	const char *detector;
	u32 node_id;
	u32 setting_count;
	struct kcgcs_request_setting settings[KCGCS_REQUEST_SETTINGS_MAX];
};

int kcgcs_netlink_register(void);
void kcgcs_netlink_unregister(void);

/* Append an attribute to an answer.  Return: 0, or -EMSGSIZE without room. */
int kcgcs_put_u8(struct sk_buff *skb, int attribute, u8 value);
int kcgcs_put_u16(struct sk_buff *skb, int attribute, u16 value);
int kcgcs_put_u32(struct sk_buff *skb, int attribute, u32 value);
int kcgcs_put_u64(struct sk_buff *skb, int attribute, u64 value);
int kcgcs_put_numbers(struct sk_buff *skb, int attribute, const u32 *numbers,
		      u32 count);
int kcgcs_put_text(struct sk_buff *skb, int attribute, const u8 *text,
		   u32 length);
int kcgcs_put_pair(struct sk_buff *skb, int attribute, const u8 *name,
		   u32 length, u64 value);

/*
 * control/netlink.rs: the commands.  A complaint for the user is written to
 * message.  If generation is not NULL, a number is written to it that changes
 * with the list that index is a place in.
 */
int kcgcs_netlink_start(struct net *net, const struct kcgcs_request *request,
			char *message);
int kcgcs_netlink_stop(struct net *net, char *message);
int kcgcs_netlink_evict(struct net *net, u16 node, char *message);
int kcgcs_netlink_pin(struct net *net, u32 span_ms, char *message);
int kcgcs_netlink_put(struct net *net, struct sk_buff *skb, u8 command,
		      u32 index, u32 *generation, char *message);

/* runtime/kcgcs_helpers.c: functions that are inline or macros in C. */
void kcgcs_spin_lock_bh(struct spinlock *lock);
int kcgcs_spin_trylock_bh(struct spinlock *lock);
void kcgcs_spin_unlock_bh(struct spinlock *lock);
void kcgcs_init_notifier_chain(struct blocking_notifier_head *head);
unsigned int kcgcs_no_io_begin(void);
void kcgcs_no_io_end(unsigned int before);

/* observability/kcgcs_trace.c: one function for each trace event. */
void kcgcs_trace_heartbeat_send(u16 node, const u8 *address, u16 port,
				u32 length);
void kcgcs_trace_heartbeat_receive(u16 node, const u8 *address, u16 port,
				   u32 length);
void kcgcs_trace_datagram_send(u16 node, const u8 *address, u16 port,
			       u32 length);
void kcgcs_trace_datagram_receive(u16 node, const u8 *address, u16 port,
				  u32 length);
void kcgcs_trace_view_install(u16 node, u64 number, u32 members);
void kcgcs_trace_deliver(u16 node, u32 endpoint, u16 sender, u64 sequence,
			 u32 length);

#endif /* _KCGCS_INTERNAL_H */
