// SPDX-License-Identifier: GPL-2.0
/* The trace events as functions, for trace_points.rs. */
#define CREATE_TRACE_POINTS
#include "kcgcs_trace.h"

#include "kcgcs_internal.h"

void kcgcs_trace_heartbeat_send(u16 node, const u8 *address, u16 port,
				u32 length)
{
	trace_kcgcs_heartbeat_send(node, address, port, length);
}

void kcgcs_trace_heartbeat_receive(u16 node, const u8 *address, u16 port,
				   u32 length)
{
	trace_kcgcs_heartbeat_receive(node, address, port, length);
}

void kcgcs_trace_datagram_send(u16 node, const u8 *address, u16 port,
			       u32 length)
{
	trace_kcgcs_datagram_send(node, address, port, length);
}

void kcgcs_trace_datagram_receive(u16 node, const u8 *address, u16 port,
				  u32 length)
{
	trace_kcgcs_datagram_receive(node, address, port, length);
}

void kcgcs_trace_view_install(u16 node, u64 number, u32 members)
{
	trace_kcgcs_view_install(node, number, members);
}

void kcgcs_trace_deliver(u16 node, u32 endpoint, u16 sender, u64 sequence,
			 u32 length)
{
	trace_kcgcs_deliver(node, endpoint, sender, sequence, length);
}
