//! Escaping of characters that a line for people must not hold: the defence against log injection and forged terminal
//! output.

use std::fmt::Write as _;

/// Whether a character breaks a line, colours a terminal, turns the direction of a text or is invisible.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// A text for a terminal: each hidden character becomes an escape, such as `\u{9b}` or `\n`.
pub(crate) fn escape_for_terminal(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// As [`escape_for_terminal`], with the escapes of JSON, such as `\u009b`: in JSON such characters occur only within strings.
pub(crate) fn escape_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _infallible = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, terminal: &str, json: &str) {
        assert_eq!(
            (escape_for_terminal(text), escape_json(text)),
            (terminal.to_owned(), json.to_owned())
        );
    }

    #[test]
    fn hidden_characters_are_escaped_in_both_formats_and_json_round_trips() {
        check(
            "zażółć gęślą 日本 e\u{301}",
            "zażółć gęślą 日本 e\u{301}",
            "zażółć gęślą 日本 e\u{301}",
        );
        check("a\u{9b}31m", "a\\u{9b}31m", "a\\u009b31m");
        check("a\u{85}b\u{7f}", "a\\u{85}b\\u{7f}", "a\\u0085b\\u007f");
        check("\u{2028}\u{2029}", "\\u{2028}\\u{2029}", "\\u2028\\u2029");
        check("\u{202e}\u{2066}\u{feff}", "\\u{202e}\\u{2066}\\u{feff}", "\\u202e\\u2066\\ufeff");
        check("\u{e0041}", "\\u{e0041}", "\\udb40\\udc41");
        check("a\nb", "a\\nb", "a\\u000ab");
        let name = "\u{9b}\u{85}\u{2028}\u{e0041}";
        let read: String = serde_json::from_str(&escape_json(&format!("\"{name}\""))).unwrap();
        assert_eq!(read, name);
    }
}
