/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events of KCGCS, for events that are too frequent for the kernel log.
 * Switch them on under /sys/kernel/tracing/events/kcgcs.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kcgcs

#if !defined(_KCGCS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _KCGCS_TRACE_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(kcgcs_datagram,
	TP_PROTO(u16 node, const u8 *address, u16 port, u32 length),
	TP_ARGS(node, address, port, length),
	TP_STRUCT__entry(
		__field(u16, node)
		__field(u16, port)
		__field(u32, length)
		__array(u8, address, 16)
	),
	TP_fast_assign(
		__entry->node = node;
		__entry->port = port;
		__entry->length = length;
		memcpy(__entry->address, address, 16);
	),
	TP_printk("node=%u peer=%pI6c port=%u length=%u", __entry->node,
		  __entry->address, __entry->port, __entry->length)
);

DEFINE_EVENT(kcgcs_datagram, kcgcs_heartbeat_send,
	TP_PROTO(u16 node, const u8 *address, u16 port, u32 length),
	TP_ARGS(node, address, port, length)
);

DEFINE_EVENT(kcgcs_datagram, kcgcs_heartbeat_receive,
	TP_PROTO(u16 node, const u8 *address, u16 port, u32 length),
	TP_ARGS(node, address, port, length)
);

DEFINE_EVENT(kcgcs_datagram, kcgcs_datagram_send,
	TP_PROTO(u16 node, const u8 *address, u16 port, u32 length),
	TP_ARGS(node, address, port, length)
);

DEFINE_EVENT(kcgcs_datagram, kcgcs_datagram_receive,
	TP_PROTO(u16 node, const u8 *address, u16 port, u32 length),
	TP_ARGS(node, address, port, length)
);

TRACE_EVENT(kcgcs_view_install,
	TP_PROTO(u16 node, u64 number, u32 members),
	TP_ARGS(node, number, members),
	TP_STRUCT__entry(
		__field(u64, number)
		__field(u32, members)
		__field(u16, node)
	),
	TP_fast_assign(
		__entry->node = node;
		__entry->number = number;
		__entry->members = members;
	),
	TP_printk("node=%u view=%llu members=%u", __entry->node,
		  __entry->number, __entry->members)
);

TRACE_EVENT(kcgcs_deliver,
	TP_PROTO(u16 node, u32 endpoint, u16 sender, u64 sequence, u32 length),
	TP_ARGS(node, endpoint, sender, sequence, length),
	TP_STRUCT__entry(
		__field(u64, sequence)
		__field(u32, endpoint)
		__field(u32, length)
		__field(u16, node)
		__field(u16, sender)
	),
	TP_fast_assign(
		__entry->node = node;
		__entry->endpoint = endpoint;
		__entry->sender = sender;
		__entry->sequence = sequence;
		__entry->length = length;
	),
	TP_printk("node=%u endpoint=%u sender=%u sequence=%llu length=%u",
		  __entry->node, __entry->endpoint, __entry->sender,
		  __entry->sequence, __entry->length)
);

#endif /* _KCGCS_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH observability
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE kcgcs_trace
#include <trace/define_trace.h>
