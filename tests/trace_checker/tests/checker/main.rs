// SPDX-License-Identifier: GPL-2.0

//! Tests of the checker itself: that it finds what is wrong, and finds nothing wrong where nothing is.

mod bites;
mod command;
mod options;
mod parts;
mod reading;
mod story;
