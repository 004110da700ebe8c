// SPDX-License-Identifier: GPL-2.0
/* The trace events as functions, for trace_points.rs. */
#define CREATE_TRACE_POINTS
#include "kcgcs_trace.h"

#include "kcgcs_internal.h"

#define KCGCS_DATAGRAM_EVENT(event)					\
	void kcgcs_trace_##event(u16 node, const u8 *address, u16 port,	\
				 u32 length)				\
	{								\
		trace_kcgcs_##event(node, address, port, length);	\
	}

KCGCS_DATAGRAM_EVENT(heartbeat_send)
KCGCS_DATAGRAM_EVENT(heartbeat_receive)
KCGCS_DATAGRAM_EVENT(datagram_send)
KCGCS_DATAGRAM_EVENT(datagram_receive)

void kcgcs_trace_view_install(u16 node, u64 number, u32 members)
{
	trace_kcgcs_view_install(node, number, members);
}

void kcgcs_trace_deliver(u16 node, u32 endpoint, u16 sender, u64 sequence,
			 u32 length)
{
	trace_kcgcs_deliver(node, endpoint, sender, sequence, length);
}
