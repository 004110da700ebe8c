// SPDX-License-Identifier: GPL-2.0
/*
 * The UDP socket of a node, which receives and sends in soft interrupts.
 *
 * As in VXLAN or WireGuard, an encapsulation hook gets every datagram from the
 * network stack without a process being scheduled.  It hands the datagram to
 * kcgcs_receive() (node/bottom_half.rs), which handles heartbeats at once.
 * Other datagrams go to a bounded queue that the engine empties.
 *
 * Sending goes straight to the IP layer.  It allocates one packet, which the
 * network stack consumes, and nothing else.  It looks up the route each time,
 * so that it follows the routing table.
 */
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/udp.h>
#include <net/dst.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/udp.h>
#include <net/udp_tunnel.h>

#include "kcgcs_internal.h"

#define KCGCS_HEADROOM (LL_MAX_HEADER + sizeof(struct ipv6hdr) + \
			sizeof(struct udphdr))
/* Value of encap_type: any but 0; nobody else reads it. */
#define KCGCS_ENCAP_TYPE 1
/* Class selector 6, as routing protocols use: queued before bulk data. */
#define KCGCS_URGENT_TOS 0xc0

/**
 * struct kcgcs_socket - a bound UDP socket and the queue for the engine
 * @socket: the kernel's socket; gone once @sk is NULL
 * @sk: its lower half, which senders use; NULL under RCU once closed
 * @context: handed to kcgcs_receive()
 * @address: the local address, IPv4 in its mapped form
 * @port: the local UDP port, in network order
 * @queue: datagrams for the engine; its lock guards @queued_bytes too
 * @queued_bytes: memory that they take
 * @overflows: number of datagrams dropped because @queue was full
 */
struct kcgcs_socket {
	struct socket *socket;
	struct sock __rcu *sk;
	void *context;
	struct in6_addr address;
	__be16 port;
	struct sk_buff_head queue;
	u32 queued_bytes;
	atomic64_t overflows;
};

/* The sender of a queued datagram, in skb->cb. */
struct kcgcs_datagram_source {
	struct in6_addr address;
	u16 port;
};

static atomic_t kcgcs_queued_datagrams = ATOMIC_INIT(0);

static struct kcgcs_datagram_source *kcgcs_source(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct kcgcs_datagram_source) > sizeof(skb->cb));
	return (struct kcgcs_datagram_source *)skb->cb;
}

int kcgcs_live_datagrams(void)
{
	return atomic_read(&kcgcs_queued_datagrams);
}

static void kcgcs_enqueue(struct kcgcs_socket *s, struct sk_buff *skb,
			  const struct kcgcs_datagram_source *source)
{
	bool has_room;

	/* It may wait for long: release route, device and connection tracking. */
	skb_orphan(skb);
	skb_dst_drop(skb);
	skb_scrub_packet(skb, true);
	skb->dev = NULL;
	*kcgcs_source(skb) = *source;

	spin_lock_bh(&s->queue.lock);
	has_room = skb_queue_len(&s->queue) < KCGCS_QUEUED_DATAGRAMS_MAX &&
		   s->queued_bytes + skb->truesize <= KCGCS_QUEUED_BYTES_MAX;
	if (has_room) {
		s->queued_bytes += skb->truesize;
		atomic_inc(&kcgcs_queued_datagrams);
		__skb_queue_tail(&s->queue, skb);
	}
	spin_unlock_bh(&s->queue.lock);
	if (!has_room) {
		atomic64_inc(&s->overflows);
		kfree_skb(skb);
		return;
	}
	kcgcs_received(s->context);
}

static struct sk_buff *kcgcs_dequeue(struct kcgcs_socket *s)
{
	struct sk_buff *skb;

	spin_lock_bh(&s->queue.lock);
	skb = __skb_dequeue(&s->queue);
	if (skb)
		s->queued_bytes -= skb->truesize;
	spin_unlock_bh(&s->queue.lock);
	return skb;
}

/* Soft interrupt, inside of an RCU read section.  Always takes the datagram. */
static int kcgcs_encap_receive(struct sock *sk, struct sk_buff *skb)
{
	struct kcgcs_socket *s = rcu_dereference_sk_user_data(sk);
	struct kcgcs_datagram_source source;

	if (!s || skb_linearize(skb) || skb->len < sizeof(struct udphdr))
		goto drop;
	source.port = ntohs(udp_hdr(skb)->source);
	if (skb->protocol == htons(ETH_P_IP))
		ipv6_addr_set_v4mapped(ip_hdr(skb)->saddr, &source.address);
	else
		source.address = ipv6_hdr(skb)->saddr;
	__skb_pull(skb, sizeof(struct udphdr));
	if (!kcgcs_receive(s->context, source.address.s6_addr, source.port,
			   skb->data, skb->len)) {
		consume_skb(skb);
		return 0;
	}
	kcgcs_enqueue(s, skb, &source);
	return 0;
drop:
	kfree_skb(skb);
	return 0;
}

int kcgcs_socket_bind(struct net *net, const u8 *address, u16 port,
		      struct kcgcs_socket **result)
{
	struct udp_port_cfg config = {
		.local_udp_port = htons(port),
		.use_udp_checksums = 1,
		.use_udp6_tx_checksums = 1,
		.use_udp6_rx_checksums = 1,
		.ipv6_v6only = 1,
	};
	struct kcgcs_socket *s;
	int error;

	s = kzalloc_obj(*s);
	if (!s)
		return -ENOMEM;
	skb_queue_head_init(&s->queue);
	memcpy(&s->address, address, sizeof(s->address));
	s->port = htons(port);
	if (ipv6_addr_v4mapped(&s->address)) {
		config.family = AF_INET;
		config.local_ip.s_addr = s->address.s6_addr32[3];
	} else {
		config.family = AF_INET6;
		config.local_ip6 = s->address;
	}
	error = udp_sock_create(net, &config, &s->socket);
	if (error) {
		kfree(s);
		return error;
	}
	s->socket->sk->sk_allocation = GFP_ATOMIC;
	rcu_assign_pointer(s->sk, s->socket->sk);
	*result = s;
	return 0;
}

/* Starts to call kcgcs_receive(), with @context. */
void kcgcs_socket_start(struct kcgcs_socket *s, void *context)
{
	struct udp_tunnel_sock_cfg config = {
		.sk_user_data = s,
		.encap_type = KCGCS_ENCAP_TYPE,
		.encap_rcv = kcgcs_encap_receive,
	};

	s->context = context;
	setup_udp_tunnel_sock(sock_net(s->socket->sk), s->socket->sk, &config);
}

/*
 * Gives the port back.  Receivers and senders that have begun may still run
 * until an RCU grace period is over.
 */
void kcgcs_socket_close(struct kcgcs_socket *s)
{
	struct sock *sk = rcu_replace_pointer(s->sk, NULL, true);

	if (sk)
		udp_tunnel_sock_release(sk);
}

/* Must be called an RCU grace period after kcgcs_socket_close(). */
void kcgcs_socket_free(struct kcgcs_socket *s)
{
	struct sk_buff *skb;

	while ((skb = kcgcs_dequeue(s)))
		kcgcs_socket_give_back(skb);
	kfree(s);
}

static int kcgcs_transmit4(struct kcgcs_socket *s, struct sock *sk,
			   struct sk_buff *skb, const struct in6_addr *to,
			   __be16 port, u8 tos)
{
	struct flowi4 flow = {
		.saddr = s->address.s6_addr32[3],
		.daddr = to->s6_addr32[3],
		.fl4_sport = s->port,
		.fl4_dport = port,
		.flowi4_proto = IPPROTO_UDP,
	};
	struct rtable *route;

	route = ip_route_output_flow(sock_net(sk), &flow, sk);
	if (IS_ERR(route)) {
		kfree_skb(skb);
		return PTR_ERR(route);
	}
	udp_tunnel_xmit_skb(route, sk, skb, flow.saddr, flow.daddr, tos,
			    ip4_dst_hoplimit(&route->dst), 0, s->port, port,
			    false, false, 0);
	return 0;
}

#if IS_ENABLED(CONFIG_IPV6)
static int kcgcs_transmit6(struct kcgcs_socket *s, struct sock *sk,
			   struct sk_buff *skb, const struct in6_addr *to,
			   __be16 port, u8 tos)
{
	struct flowi6 flow = {
		.saddr = s->address,
		.daddr = *to,
		.fl6_sport = s->port,
		.fl6_dport = port,
		.flowi6_proto = IPPROTO_UDP,
	};
	struct dst_entry *route;

	route = ip6_dst_lookup_flow(sock_net(sk), sk, &flow, NULL);
	if (IS_ERR(route)) {
		kfree_skb(skb);
		return PTR_ERR(route);
	}
	udp_tunnel6_xmit_skb(route, sk, skb, NULL, &flow.saddr, &flow.daddr,
			     tos, ip6_dst_hoplimit(route), 0, s->port, port,
			     false, 0);
	return 0;
}
#else
/* Never called: without IPv6 no socket has such an address. */
static int kcgcs_transmit6(struct kcgcs_socket *s, struct sock *sk,
			   struct sk_buff *skb, const struct in6_addr *to,
			   __be16 port, u8 tos)
{
	kfree_skb(skb);
	return -EAFNOSUPPORT;
}
#endif

/* Any context but hard interrupt. */
int kcgcs_socket_transmit(struct kcgcs_socket *s, const u8 *address, u16 port,
			  const void *payload, u32 length, bool urgent)
{
	u8 tos = urgent ? KCGCS_URGENT_TOS : 0;
	struct sk_buff *skb;
	struct in6_addr to;
	struct sock *sk;
	int error;

	memcpy(&to, address, sizeof(to));
	if (ipv6_addr_v4mapped(&to) != ipv6_addr_v4mapped(&s->address))
		return -EAFNOSUPPORT;
	skb = alloc_skb(KCGCS_HEADROOM + length, GFP_ATOMIC | __GFP_NOWARN);
	if (!skb)
		return -ENOMEM;
	skb_reserve(skb, KCGCS_HEADROOM);
	skb_set_inner_network_header(skb, 0);
	skb_put_data(skb, payload, length);
	skb->ignore_df = 1;
	if (urgent)
		skb->priority = TC_PRIO_CONTROL;

	rcu_read_lock_bh();
	sk = rcu_dereference_bh(s->sk);
	if (!sk) {
		kfree_skb(skb);
		error = -ENETDOWN;
	} else if (ipv6_addr_v4mapped(&to)) {
		skb->protocol = htons(ETH_P_IP);
		error = kcgcs_transmit4(s, sk, skb, &to, htons(port), tos);
	} else {
		skb->protocol = htons(ETH_P_IPV6);
		error = kcgcs_transmit6(s, sk, skb, &to, htons(port), tos);
	}
	rcu_read_unlock_bh();
	return error;
}

/* Takes the oldest datagram for the engine, which must be given back. */
struct sk_buff *kcgcs_socket_take(struct kcgcs_socket *s,
				  struct kcgcs_datagram *datagram)
{
	struct sk_buff *skb = kcgcs_dequeue(s);

	if (!skb)
		return NULL;
	memcpy(datagram->address, &kcgcs_source(skb)->address,
	       sizeof(datagram->address));
	datagram->port = kcgcs_source(skb)->port;
	datagram->length = skb->len;
	datagram->payload = skb->data;
	return skb;
}

void kcgcs_socket_give_back(struct sk_buff *skb)
{
	atomic_dec(&kcgcs_queued_datagrams);
	consume_skb(skb);
}

u64 kcgcs_socket_overflows(const struct kcgcs_socket *s)
{
	return atomic64_read(&s->overflows);
}
