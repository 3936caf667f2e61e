//! Numbers for people.

/// A number with about three digits, and with commas from a thousand on.
#[must_use]
pub fn shown(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size < 0.1 => 4,
        size if size < 1.0 => 3,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    if digits > 0 {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let mut grouped = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_they_deserve() {
        for (value, expected) in [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (0.853_9, "0.854"),
            (1.0, "1"),
            (3.456, "3.46"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (123.4, "123"),
            (23_456.7, "23,457"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(shown(value), expected);
        }
    }
}
