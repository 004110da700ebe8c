// SPDX-License-Identifier: GPL-2.0

//! Text from other nodes, made harmless for a terminal.

/// The text with all control characters escaped, except tabs.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\t' {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\tb\x1b[2J\n"), "a\tb\\u{1b}[2J\\n");
        assert_eq!(printable("größer 漢"), "größer 漢");
    }
}
