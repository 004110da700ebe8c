// SPDX-License-Identifier: GPL-2.0

//! Messages of groups.
