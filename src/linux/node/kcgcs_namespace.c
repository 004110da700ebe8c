// SPDX-License-Identifier: GPL-2.0
/*
 * Reports to registry.rs when a network namespace goes away.
 *
 * Between the two calls the kernel waits for an RCU grace period, once for all
 * namespaces that go at the same time.  The first call ends receiving and
 * sending, the second frees the node.
 */
#include <net/net_namespace.h>

#include "kcgcs_internal.h"

static void __net_exit kcgcs_net_pre_exit(struct net *net)
{
	kcgcs_namespace_pre_exit(net);
}

static void __net_exit kcgcs_net_exit(struct net *net)
{
	kcgcs_namespace_exit(net);
}

static struct pernet_operations kcgcs_net_operations = {
	.pre_exit = kcgcs_net_pre_exit,
	.exit = kcgcs_net_exit,
};

int kcgcs_namespaces_register(void)
{
	/* A device exits before the interfaces of its namespace do. */
	return register_pernet_device(&kcgcs_net_operations);
}

void kcgcs_namespaces_unregister(void)
{
	unregister_pernet_device(&kcgcs_net_operations);
}
