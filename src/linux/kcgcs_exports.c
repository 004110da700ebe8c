// SPDX-License-Identifier: GPL-2.0
/*
 * The symbols that consumers link to.  Their code is in
 * exported_functions.rs.
 */
#include <linux/export.h>
#include <linux/module.h>

#include <kcgcs.h>

/* The Rust side has the same layouts (callback_types.rs) and checks the same. */
static_assert(sizeof(struct kcgcs_member) == 16);
static_assert(sizeof(struct kcgcs_change) == 24);
static_assert(sizeof(struct kcgcs_view) == 64);
static_assert(sizeof(struct kcgcs_message) == 48);
static_assert(sizeof(struct kcgcs_group_ops) == 7 * sizeof(void *));

EXPORT_SYMBOL_NS_GPL(kcgcs_join, "KCGCS");
EXPORT_SYMBOL_NS_GPL(kcgcs_leave, "KCGCS");
EXPORT_SYMBOL_NS_GPL(kcgcs_multicast, "KCGCS");
EXPORT_SYMBOL_NS_GPL(kcgcs_self, "KCGCS");
EXPORT_SYMBOL_NS_GPL(kcgcs_view_get, "KCGCS");
EXPORT_SYMBOL_NS_GPL(kcgcs_view_put, "KCGCS");
EXPORT_SYMBOL_NS_GPL(kcgcs_register_notifier, "KCGCS");
EXPORT_SYMBOL_NS_GPL(kcgcs_unregister_notifier, "KCGCS");
