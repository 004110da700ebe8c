// SPDX-License-Identifier: GPL-2.0
/*
 * The symbols that consumers link to.  Their code is in
 * exported_functions.rs.
 */
#include <linux/export.h>
#include <linux/module.h>

#include <kcgcs.h>

/*
 * The layout that consumers were compiled with.  The Rust side is made from
 * the same header, and compares the types of the functions with it (ffi.rs).
 */
static_assert(sizeof(struct kcgcs_member) == 16);
static_assert(sizeof(struct kcgcs_change) == 24);
static_assert(sizeof(struct kcgcs_view) == 80);
static_assert(sizeof(struct kcgcs_message) == 48);
static_assert(sizeof(struct kcgcs_group_ops) == 10 * sizeof(void *));
static_assert(sizeof(struct kcgcs_group_properties) == 32);

#define KCGCS_EXPORT(function) EXPORT_SYMBOL_NS_GPL(function, "KCGCS")

KCGCS_EXPORT(kcgcs_join);
KCGCS_EXPORT(kcgcs_leave);
KCGCS_EXPORT(kcgcs_leave_flags);
KCGCS_EXPORT(kcgcs_multicast);
KCGCS_EXPORT(kcgcs_self);
KCGCS_EXPORT(kcgcs_view_get);
KCGCS_EXPORT(kcgcs_view_put);
KCGCS_EXPORT(kcgcs_register_notifier);
KCGCS_EXPORT(kcgcs_unregister_notifier);
KCGCS_EXPORT(kcgcs_register_fence);
KCGCS_EXPORT(kcgcs_unregister_fence);
