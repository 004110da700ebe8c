// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite of a node's socket.  It includes kcgcs_socket.c itself and takes
 * the place of the Rust side.  Datagrams go over the loopback interface.
 */
#include <kunit/test.h>
#include <linux/wait.h>

#include "network/kcgcs_socket.c"

/* How long to wait for what must happen. */
#define WAIT		(10 * HZ)
#define PORT		15407
#define OTHER_PORT	15408
#define PAYLOAD_MAX	60000

static const u8 loopback4[16] = { [10] = 0xff, [11] = 0xff, 127, 0, 0, 1 };
static const u8 loopback6[16] = { [15] = 1 };
/* Reserved for documentation (RFC 5737): never an address of this machine. */
static const u8 foreign4[16] = { [10] = 0xff, [11] = 0xff, 192, 0, 2, 1 };

/* A socket, and what kcgcs_receive() and kcgcs_received() were called with. */
struct end {
	struct kcgcs_socket *socket;
	wait_queue_head_t wait;
	bool is_queued;
	int seen;
	int queued;
	u32 length;
	u16 port;
	u8 first;
};

bool kcgcs_receive(void *context, const u8 *address, u16 port,
		   const u8 *payload, u32 length)
{
	struct end *end = context;

	end->port = port;
	end->length = length;
	end->first = length ? payload[0] : 0;
	WRITE_ONCE(end->seen, end->seen + 1);
	wake_up(&end->wait);
	return end->is_queued;
}

void kcgcs_received(void *context)
{
	struct end *end = context;

	WRITE_ONCE(end->queued, end->queued + 1);
	wake_up(&end->wait);
}

static void end_close(void *context)
{
	struct end *end = context;

	kcgcs_socket_close(end->socket);
	synchronize_rcu();
	kcgcs_socket_free(end->socket);
}

/* An open socket that receives; it is closed when the test ends. */
static struct end *end_open(struct kunit *test, const u8 *address, u16 port)
{
	struct end *end = kunit_kzalloc(test, sizeof(*end), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, end);
	init_waitqueue_head(&end->wait);
	end->is_queued = true;
	KUNIT_ASSERT_EQ(test, 0, kcgcs_socket_bind(&init_net, address, port,
						   &end->socket));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, end_close,
							   end));
	kcgcs_socket_start(end->socket, end);
	return end;
}

static void a_port_is_free_again_after_close(struct kunit *test)
{
	int round;

	for (round = 0; round < 3; round++) {
		struct kcgcs_socket *socket;

		KUNIT_ASSERT_EQ(test, 0, kcgcs_socket_bind(&init_net, loopback4,
							   PORT, &socket));
		kcgcs_socket_close(socket);
		kcgcs_socket_close(socket);
		synchronize_rcu();
		kcgcs_socket_free(socket);
	}
}

static void a_used_port_is_refused(struct kunit *test)
{
	struct kcgcs_socket *second = NULL;

	end_open(test, loopback4, PORT);
	KUNIT_EXPECT_EQ(test, -EADDRINUSE,
			kcgcs_socket_bind(&init_net, loopback4, PORT, &second));
	KUNIT_EXPECT_NULL(test, second);
}

static void an_address_that_is_not_ours_is_refused(struct kunit *test)
{
	struct kcgcs_socket *socket = NULL;

	KUNIT_EXPECT_EQ(test, -EADDRNOTAVAIL,
			kcgcs_socket_bind(&init_net, foreign4, PORT, &socket));
	KUNIT_EXPECT_NULL(test, socket);
}

/* Checks that a datagram of each size arrives whole, with its sender's address. */
static void exchange(struct kunit *test, const u8 *address)
{
	static const u32 sizes[] = { 0, 1, 64, 1472, 1473, PAYLOAD_MAX };
	struct end *from = end_open(test, address, PORT);
	struct end *to = end_open(test, address, OTHER_PORT);
	u8 *payload = kunit_kzalloc(test, PAYLOAD_MAX, GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, payload);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kcgcs_datagram datagram;
		struct sk_buff *skb;

		memset(payload, 'a' + i, sizes[i]);
		KUNIT_ASSERT_EQ(test, 0,
				kcgcs_socket_transmit(from->socket, address,
						      OTHER_PORT, payload,
						      sizes[i], i % 2));
		KUNIT_ASSERT_NE(test, 0,
				wait_event_timeout(to->wait,
						   READ_ONCE(to->queued) > i,
						   WAIT));
		KUNIT_EXPECT_EQ(test, PORT, to->port);
		KUNIT_EXPECT_EQ(test, sizes[i], to->length);
		KUNIT_EXPECT_EQ(test, sizes[i] ? 'a' + i : 0, to->first);
		skb = kcgcs_socket_take(to->socket, &datagram);
		KUNIT_ASSERT_NOT_NULL(test, skb);
		KUNIT_EXPECT_EQ(test, PORT, datagram.port);
		KUNIT_EXPECT_MEMEQ(test, datagram.address, address, 16);
		KUNIT_EXPECT_EQ(test, sizes[i], datagram.length);
		KUNIT_EXPECT_MEMEQ(test, datagram.payload, payload, sizes[i]);
		kcgcs_socket_give_back(skb);
	}
	KUNIT_EXPECT_EQ(test, 0, kcgcs_live_datagrams());
}

static void ipv4_datagrams_of_all_sizes_arrive(struct kunit *test)
{
	exchange(test, loopback4);
}

static void ipv6_datagrams_of_all_sizes_arrive(struct kunit *test)
{
	exchange(test, loopback6);
}

static void a_datagram_that_the_hook_consumes_is_not_queued(struct kunit *test)
{
	struct end *end = end_open(test, loopback4, PORT);
	struct kcgcs_datagram datagram;

	end->is_queued = false;
	KUNIT_ASSERT_EQ(test, 0, kcgcs_socket_transmit(end->socket, loopback4,
						       PORT, "x", 1, true));
	KUNIT_ASSERT_NE(test, 0, wait_event_timeout(end->wait,
						    READ_ONCE(end->seen) == 1,
						    WAIT));
	KUNIT_EXPECT_NULL(test, kcgcs_socket_take(end->socket, &datagram));
	KUNIT_EXPECT_EQ(test, 0, end->queued);
	KUNIT_EXPECT_EQ(test, 0, kcgcs_live_datagrams());
}

static void a_full_queue_drops_and_counts(struct kunit *test)
{
	const int too_many = 7;
	struct end *end = end_open(test, loopback4, PORT);
	struct kcgcs_datagram datagram;
	struct sk_buff *skb;
	u32 i;

	for (i = 0; i < KCGCS_QUEUED_DATAGRAMS_MAX + too_many; i++) {
		KUNIT_ASSERT_EQ(test, 0,
				kcgcs_socket_transmit(end->socket, loopback4,
						      PORT, &i, sizeof(i),
						      false));
		/* One at a time: the queues of the network stack may overflow. */
		KUNIT_ASSERT_NE(test, 0,
				wait_event_timeout(end->wait,
						   READ_ONCE(end->seen) > i,
						   WAIT));
	}
	KUNIT_EXPECT_NE(test, 0,
			wait_event_timeout(end->wait,
					   kcgcs_socket_overflows(end->socket) ==
						   too_many,
					   WAIT));
	KUNIT_EXPECT_EQ(test, KCGCS_QUEUED_DATAGRAMS_MAX,
			kcgcs_live_datagrams());
	/* The oldest were kept, in the order in which they arrived. */
	for (i = 0; i < 3; i++) {
		skb = kcgcs_socket_take(end->socket, &datagram);
		KUNIT_ASSERT_NOT_NULL(test, skb);
		KUNIT_EXPECT_MEMEQ(test, datagram.payload, &i, sizeof(i));
		kcgcs_socket_give_back(skb);
	}
	/* Datagrams that were never taken are freed with the socket. */
	kunit_release_action(test, end_close, end);
	KUNIT_EXPECT_EQ(test, 0, kcgcs_live_datagrams());
}

static void large_datagrams_fill_the_queue_by_their_size(struct kunit *test)
{
	const int most = KCGCS_QUEUED_BYTES_MAX / PAYLOAD_MAX;
	struct end *end = end_open(test, loopback4, PORT);
	u8 *payload = kunit_kzalloc(test, PAYLOAD_MAX, GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, payload);
	for (i = 0; i <= most; i++) {
		KUNIT_ASSERT_EQ(test, 0,
				kcgcs_socket_transmit(end->socket, loopback4,
						      PORT, payload,
						      PAYLOAD_MAX, false));
		KUNIT_ASSERT_NE(test, 0,
				wait_event_timeout(end->wait,
						   READ_ONCE(end->seen) > i,
						   WAIT));
	}
	KUNIT_EXPECT_NE(test, 0,
			wait_event_timeout(end->wait,
					   kcgcs_socket_overflows(end->socket) > 0,
					   WAIT));
	KUNIT_EXPECT_GT(test, kcgcs_live_datagrams(), 0);
	KUNIT_EXPECT_LE(test, kcgcs_live_datagrams(), most);
	kunit_release_action(test, end_close, end);
	KUNIT_EXPECT_EQ(test, 0, kcgcs_live_datagrams());
}

static void a_closed_socket_sends_and_receives_nothing(struct kunit *test)
{
	struct end *open = end_open(test, loopback4, PORT);
	struct end *closed = end_open(test, loopback4, OTHER_PORT);

	kcgcs_socket_close(closed->socket);
	KUNIT_EXPECT_EQ(test, -ENETDOWN,
			kcgcs_socket_transmit(closed->socket, loopback4, PORT,
					      "x", 1, false));
	KUNIT_EXPECT_EQ(test, 0, kcgcs_socket_transmit(open->socket, loopback4,
						       OTHER_PORT, "x", 1,
						       false));
	/* Had one of the first two arrived, it would be before this one. */
	KUNIT_EXPECT_EQ(test, 0, kcgcs_socket_transmit(open->socket, loopback4,
						       PORT, "x", 1, false));
	KUNIT_EXPECT_NE(test, 0, wait_event_timeout(open->wait,
						    READ_ONCE(open->seen) > 0,
						    WAIT));
	KUNIT_EXPECT_EQ(test, 1, open->seen);
	KUNIT_EXPECT_EQ(test, 0, closed->seen);
}

static void the_other_address_family_is_refused(struct kunit *test)
{
	struct end *four = end_open(test, loopback4, PORT);
	struct end *six = end_open(test, loopback6, PORT);

	KUNIT_EXPECT_EQ(test, -EAFNOSUPPORT,
			kcgcs_socket_transmit(four->socket, loopback6, PORT,
					      "x", 1, false));
	KUNIT_EXPECT_EQ(test, -EAFNOSUPPORT,
			kcgcs_socket_transmit(six->socket, loopback4, PORT, "x",
					      1, false));
}

static void sending_is_allowed_with_bottom_halves_off(struct kunit *test)
{
	struct end *end = end_open(test, loopback4, PORT);
	int error;

	local_bh_disable();
	error = kcgcs_socket_transmit(end->socket, loopback4, PORT, "x", 1,
				      true);
	local_bh_enable();
	KUNIT_EXPECT_EQ(test, 0, error);
	KUNIT_EXPECT_NE(test, 0, wait_event_timeout(end->wait,
						    READ_ONCE(end->seen) == 1,
						    WAIT));
}

static struct kunit_case socket_cases[] = {
	KUNIT_CASE(a_port_is_free_again_after_close),
	KUNIT_CASE(a_used_port_is_refused),
	KUNIT_CASE(an_address_that_is_not_ours_is_refused),
	KUNIT_CASE(ipv4_datagrams_of_all_sizes_arrive),
	KUNIT_CASE(ipv6_datagrams_of_all_sizes_arrive),
	KUNIT_CASE(a_datagram_that_the_hook_consumes_is_not_queued),
	KUNIT_CASE(a_full_queue_drops_and_counts),
	KUNIT_CASE(large_datagrams_fill_the_queue_by_their_size),
	KUNIT_CASE(a_closed_socket_sends_and_receives_nothing),
	KUNIT_CASE(the_other_address_family_is_refused),
	KUNIT_CASE(sending_is_allowed_with_bottom_halves_off),
	{}
};

static struct kunit_suite socket_suite = {
	.name = "kcgcs_socket",
	.test_cases = socket_cases,
};

kunit_test_suite(socket_suite);
