//! The text format 0.0.4, which is older than `OpenMetrics` and understood everywhere. Converted line by line from the
//! text of `OpenMetrics`, so that the two never differ in a value or a series.

use std::fmt::Write as _;

/// Converts `OpenMetrics` into the text format, where a counter's type stands under the name of its samples, and a text
/// has no `# EOF`.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut help = "";
    for line in text.lines() {
        if let Some(of) = line.strip_prefix("# HELP ") {
            help = of.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|of| of.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            let _infallible =
                writeln!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_typed_under_their_own_names() {
        let open = "# HELP a_b Help.\n# TYPE a_b counter\na_b_total{x=\"# y\"} 1\n# HELP c Info.\n# TYPE c info\nc_info{v=\"1\"} 1\n\
                    # HELP d_seconds Time.\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\nd_seconds_sum 0.5\n# EOF\n";
        let text = "# HELP a_b_total Help.\n# TYPE a_b_total counter\na_b_total{x=\"# y\"} 1\n# HELP c_info Info.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n\
                    # HELP d_seconds Time.\n# TYPE d_seconds histogram\nd_seconds_sum 0.5\n";
        assert_eq!(from_open_metrics(open), text);
    }
}
