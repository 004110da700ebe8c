// SPDX-License-Identifier: GPL-2.0
/*
 * Plain UDP datagrams, to compare heartbeats with: the cost of any sender in the
 * kernel, from a soft-interrupt timer to a receive hook.
 *
 * Each write to a parameter acts in the writer's network namespace:
 *
 *   echo PORT >.../parameters/receive               count received datagrams
 *   echo "IP PORT MICROSECONDS BYTES" >.../send     send one in each interval
 *   echo 1 >.../parameters/stop                     end both
 *
 * The parameters sent and received are the counts.  The sockets hold no
 * reference to their namespace: stop before it goes away.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/hrtimer.h>
#include <linux/inet.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nsproxy.h>
#include <linux/sched.h>
#include <linux/skbuff.h>
#include <linux/udp.h>
#include <net/ip.h>
#include <net/route.h>
#include <net/udp.h>
#include <net/udp_tunnel.h>

#define BYTES_MAX	1400
#define HEADROOM	128

static atomic_long_t sent_count;
static atomic_long_t received_count;

static DEFINE_MUTEX(bench_lock);
static struct socket *receive_socket;
static struct socket *send_socket;
static struct hrtimer send_timer;
static ktime_t send_interval;
static __be32 send_address;
static __be16 send_port;
static unsigned int send_bytes;

static int bench_receive(struct sock *sk, struct sk_buff *skb)
{
	atomic_long_inc(&received_count);
	consume_skb(skb);
	return 0;
}

static struct socket *bench_socket(u16 port, bool receives)
{
	struct net *net = current->nsproxy->net_ns;
	struct udp_port_cfg port_config = {
		.family = AF_INET,
		.local_udp_port = htons(port),
	};
	struct udp_tunnel_sock_cfg tunnel_config = {
		.encap_type = 1,
		.encap_rcv = bench_receive,
	};
	struct socket *socket;
	int ret = udp_sock_create(net, &port_config, &socket);

	if (ret)
		return ERR_PTR(ret);
	if (receives)
		setup_udp_tunnel_sock(net, socket->sk, &tunnel_config);
	return socket;
}

static void bench_send_one(void)
{
	struct sock *sk = send_socket->sk;
	struct flowi4 flow = {
		.daddr = send_address,
		.flowi4_proto = IPPROTO_UDP,
	};
	struct sk_buff *skb;
	struct rtable *route;

	route = ip_route_output_flow(sock_net(sk), &flow, sk);
	if (IS_ERR(route))
		return;
	skb = alloc_skb(HEADROOM + send_bytes, GFP_ATOMIC);
	if (!skb) {
		ip_rt_put(route);
		return;
	}
	skb_reserve(skb, HEADROOM);
	skb_put_zero(skb, send_bytes);
	udp_tunnel_xmit_skb(route, sk, skb, flow.saddr, flow.daddr, 0,
			    ip4_dst_hoplimit(&route->dst), 0, send_port,
			    send_port, false, false, 0);
	atomic_long_inc(&sent_count);
}

static enum hrtimer_restart bench_timer(struct hrtimer *timer)
{
	bench_send_one();
	hrtimer_forward_now(timer, send_interval);
	return HRTIMER_RESTART;
}

static int receive_set(const char *value, const struct kernel_param *param)
{
	struct socket *socket;
	u16 port;
	int ret = kstrtou16(value, 10, &port);

	if (ret)
		return ret;
	guard(mutex)(&bench_lock);
	if (receive_socket)
		return -EBUSY;
	socket = bench_socket(port, true);
	if (IS_ERR(socket))
		return PTR_ERR(socket);
	receive_socket = socket;
	return 0;
}

static int send_set(const char *value, const struct kernel_param *param)
{
	unsigned int microseconds;
	struct socket *socket;
	char address[16];
	u16 port;

	guard(mutex)(&bench_lock);
	if (send_socket)
		return -EBUSY;
	if (sscanf(value, "%15s %hu %u %u", address, &port, &microseconds,
		   &send_bytes) != 4 ||
	    !microseconds || send_bytes > BYTES_MAX)
		return -EINVAL;
	send_address = in_aton(address);
	send_port = htons(port);
	send_interval = us_to_ktime(microseconds);
	socket = bench_socket(0, false);
	if (IS_ERR(socket))
		return PTR_ERR(socket);
	send_socket = socket;
	hrtimer_start(&send_timer, send_interval, HRTIMER_MODE_REL_SOFT);
	return 0;
}

static void bench_stop(void)
{
	guard(mutex)(&bench_lock);
	hrtimer_cancel(&send_timer);
	if (send_socket)
		udp_tunnel_sock_release(send_socket->sk);
	if (receive_socket)
		udp_tunnel_sock_release(receive_socket->sk);
	send_socket = NULL;
	receive_socket = NULL;
}

static int stop_set(const char *value, const struct kernel_param *param)
{
	bench_stop();
	return 0;
}

static int count_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(param->arg));
}

static const struct kernel_param_ops receive_ops = { .set = receive_set };
static const struct kernel_param_ops send_ops = { .set = send_set };
static const struct kernel_param_ops stop_ops = { .set = stop_set };
static const struct kernel_param_ops count_ops = { .get = count_get };

module_param_cb(receive, &receive_ops, NULL, 0200);
MODULE_PARM_DESC(receive, "PORT: count the datagrams that it receives");
module_param_cb(send, &send_ops, NULL, 0200);
MODULE_PARM_DESC(send, "\"IP PORT MICROSECONDS BYTES\": send one in each interval");
module_param_cb(stop, &stop_ops, NULL, 0200);
MODULE_PARM_DESC(stop, "stop sending and receiving");
module_param_cb(sent, &count_ops, &sent_count, 0444);
MODULE_PARM_DESC(sent, "datagrams sent");
module_param_cb(received, &count_ops, &received_count, 0444);
MODULE_PARM_DESC(received, "datagrams received");

static int __init bench_init(void)
{
	hrtimer_setup(&send_timer, bench_timer, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_SOFT);
	return 0;
}

static void __exit bench_exit(void)
{
	bench_stop();
}

module_init(bench_init);
module_exit(bench_exit);

MODULE_DESCRIPTION("KCGCS: bare datagrams for the bench");
MODULE_LICENSE("GPL");
