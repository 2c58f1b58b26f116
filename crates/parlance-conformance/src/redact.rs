//! Keeps secrets out of reports.
//!
//! A wrong answer may carry a token at a place where no vector expects one. Therefore each run of characters that looks
//! like a token is hidden, ids of users included. Two kinds of secrets may still show: a short secret that no variable
//! holds, and a short password that a server writes between letters. Test with no real password. The in-process
//! transcript shows every byte; no other output does.

use crate::variables::Variables;

/// The shortest run of token characters that counts as an unnamed secret.
const MIN_SECRET_LENGTH: usize = 24;
/// The longest word, in bytes. A run made of words is a name such as `AUTHENTICATE_CODE_OK`, not a secret.
const MAX_WORD_LENGTH: usize = 16;
/// A shorter value is replaced only where the value stands alone: inside other words the value reveals nothing, and a
/// replacement there would reveal the value.
const MIN_EMBEDDED_LENGTH: usize = 8;
/// The most characters of a text that a report shows.
const MAX_REPORTED_CHARS: usize = 600;
/// Variables that hold no secret.
const PUBLIC_VARIABLES: [&str; 2] = ["user", "other"];

/// Replaces the value of each variable with `{name}`, and each other run that looks like a token with `(...)`.
pub(crate) fn redact(text: &str, variables: &Variables) -> String {
    let mut values: Vec<_> =
        variables.iter().filter(|(name, _)| !PUBLIC_VARIABLES.contains(name)).collect();
    values.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    let mut shown = text.to_owned();
    for (name, value) in values.into_iter().filter(|(_, value)| !value.is_empty()) {
        shown = replace(&shown, value, &format!("{{{name}}}"));
    }
    let mut safe = String::with_capacity(shown.len());
    let mut rest = shown.as_str();
    while !rest.is_empty() {
        let length = rest.find(|c| !is_token_char(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(length);
        safe.push_str(if run.len() >= MIN_SECRET_LENGTH && !is_words(run) { "(...)" } else { run });
        let other = after.find(is_token_char).unwrap_or(after.len());
        let (between, next) = after.split_at(other);
        safe.push_str(between);
        rest = next;
    }
    shorten(&safe)
}

fn replace(text: &str, value: &str, by: &str) -> String {
    if value.len() >= MIN_EMBEDDED_LENGTH {
        return text.replace(value, by);
    }
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(value) {
        let joined = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let last = before.chars().next_back().or_else(|| replaced.chars().next_back());
        let within = joined(last) || joined(after.chars().next());
        replaced.push_str(before);
        replaced.push_str(if within { value } else { by });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=')
}

fn is_words(run: &str) -> bool {
    let is_word = |word: &str| {
        word.len() <= MAX_WORD_LENGTH
            && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'=')
    };
    run.split(['_', '-', '/', '+']).all(is_word)
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_REPORTED_CHARS) {
        Some((at, _)) => {
            format!("{}... ({} bytes in all)", text.get(..at).unwrap_or_default(), text.len())
        }
        None => text.to_owned(),
    }
}
