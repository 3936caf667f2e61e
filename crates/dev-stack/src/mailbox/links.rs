use std::sync::LazyLock;

use regex::Regex;

#[expect(clippy::expect_used, reason = "the pattern is a constant that the tests exercise")]
static PLAIN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"https?://[^\s<>"'`]+"#).expect("a valid pattern"));

#[expect(clippy::expect_used, reason = "the pattern is a constant that the tests exercise")]
static HREF: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)href\s*=\s*(?:"(https?:[^"]*)"|'(https?:[^']*)')"#).expect("a valid pattern")
});

/// Every http(s) link of a mail's two parts, in order, each once.
pub(super) fn links(text: &str, html: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for link in in_text(text).map(|(_, link)| link.to_owned()).chain(in_html(html)) {
        if !found.contains(&link) {
            found.push(link);
        }
    }
    found
}

/// The links in plain text with their byte offsets. Punctuation that ends a sentence does not belong to them.
pub(super) fn in_text(text: &str) -> impl Iterator<Item = (usize, &str)> {
    PLAIN.find_iter(text).map(|found| {
        let link = found.as_str().trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '>']);
        (found.start(), link)
    })
}

fn in_html(html: &str) -> impl Iterator<Item = String> {
    HREF.captures_iter(html).filter_map(|captures| {
        captures.get(1).or_else(|| captures.get(2)).map(|link| unescape(link.as_str()))
    })
}

/// Decodes the character references that templates write in attributes.
fn unescape(escaped: &str) -> String {
    let mut plain = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((before, reference)) = rest.split_once('&') {
        plain.push_str(before);
        let decoded = reference.split_once(';').and_then(|(name, after)| Some((character(name)?, after)));
        if let Some((character, after)) = decoded {
            plain.push(character);
            rest = after;
        } else {
            plain.push('&');
            rest = reference;
        }
    }
    plain + rest
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_both_parts_come_once_and_decoded() {
        let text = "Open https://a.example/verify?token=fat_x&lang=en.\n(or http://b.example/)";
        let html = r#"<a href="https://a.example/verify?token=fat_x&amp;lang=en">x</a>
            <a HREF = 'https:&#x2f;&#47;c.example&#x2F;' href="mailto:x@example.com">y</a>"#;
        assert_eq!(
            links(text, html),
            ["https://a.example/verify?token=fat_x&lang=en", "http://b.example/", "https://c.example/"]
        );
    }

    #[test]
    fn what_is_no_character_reference_stays() {
        assert_eq!(unescape("a&b=1&copy=2&#xFFFFFFFF;&"), "a&b=1&copy=2&#xFFFFFFFF;&");
    }
}
