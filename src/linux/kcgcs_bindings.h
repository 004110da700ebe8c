/* SPDX-License-Identifier: GPL-2.0 */
/* The headers that ffi.rs shows to Rust: bindgen reads them anew in each build. */
#include <kcgcs.h>
#include <uapi/kcgcs_netlink.h>

#include "kcgcs_internal.h"
