// SPDX-License-Identifier: GPL-2.0

//! Tests of the checker itself: it finds what is wrong, and reports nothing where nothing is wrong.

mod accepted;
mod command;
mod components;
mod faults;
mod mixed;
mod options;
mod reading;
mod story;
