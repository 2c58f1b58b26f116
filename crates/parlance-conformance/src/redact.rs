//! Keeps secrets out of reports.

use crate::variables::Variables;

/// The shortest run of letters and digits that is taken for a secret nobody has named.
const LONG: usize = 24;
/// The longest word; what is made of words is a name such as `AUTHENTICATE_CODE_OK`, not a secret.
const WORD: usize = 16;
/// A shorter value is one only where it stands alone: within other words it tells nobody anything, and its replacement would.
const SHORT: usize = 8;
/// How much of a text a report shows.
const SHOWN: usize = 600;
/// Variables that hold no secret.
const OPEN: [&str; 2] = ["user", "other"];

/// Puts `{name}` in the place of each variable's value, and `(...)` in that of whatever else looks like a token.
pub(crate) fn redact(text: &str, variables: &Variables) -> String {
    let mut values: Vec<_> = variables.iter().filter(|(name, _)| !OPEN.contains(name)).collect();
    values.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    let mut shown = text.to_owned();
    for (name, value) in values.into_iter().filter(|(_, value)| !value.is_empty()) {
        shown = replace(&shown, value, &format!("{{{name}}}"));
    }
    let mut safe = String::with_capacity(shown.len());
    let mut rest = shown.as_str();
    while !rest.is_empty() {
        let length = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(length);
        safe.push_str(if run.len() >= LONG && !is_words(run) { "(...)" } else { run });
        let other = after.find(is_token).unwrap_or(after.len());
        let (between, next) = after.split_at(other);
        safe.push_str(between);
        rest = next;
    }
    shorten(&safe)
}

fn replace(text: &str, value: &str, by: &str) -> String {
    if value.len() >= SHORT {
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

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=')
}

fn is_words(run: &str) -> bool {
    let is_word = |word: &str| {
        word.len() <= WORD && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'=')
    };
    run.split(['_', '-', '/', '+']).all(is_word)
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => {
            format!("{}... ({} bytes in all)", text.get(..at).unwrap_or_default(), text.len())
        }
        None => text.to_owned(),
    }
}
