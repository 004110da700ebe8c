/* SPDX-License-Identifier: GPL-2.0 */
/* The headers whose declarations bindgen makes for Rust (ffi.rs). */
#include <kcgcs.h>
#include <uapi/kcgcs_netlink.h>

#include "kcgcs_internal.h"
