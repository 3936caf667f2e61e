/// As long as a line of a mail should be at most (RFC 5322, 2.1.1).
const MAX_CHARS: usize = 78;

/// The text without lines that are too long, where there are spaces to break them at. Templates are written to fit, but not
/// with every name and product.
pub(super) fn broken_lines(text: &str) -> String {
    let mut broken = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut length = 0;
        for word in line.split_inclusive(' ') {
            let chars = word.trim_end().chars().count();
            if length > 0 && length + chars > MAX_CHARS {
                broken.truncate(broken.trim_end_matches(' ').len());
                broken.push('\n');
                length = 0;
            }
            broken.push_str(word);
            length += word.chars().count();
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_lines_are_broken_and_only_at_spaces() {
        let short = "Hello,\n\n  Device: x \n\nBye";
        assert_eq!(broken_lines(short), short);
        let words = "word ".repeat(30);
        let broken = broken_lines(&words);
        assert!(broken.lines().all(|line| line.chars().count() <= MAX_CHARS), "{broken}");
        assert_eq!(broken.split_whitespace().count(), 30);
        let link = format!("https://auth.example/#{}\n", "x".repeat(200));
        assert_eq!(broken_lines(&link), link);
        assert_eq!(broken_lines(&format!("See {link}")), format!("See\n{link}"));
    }
}
