//! The rows of a CSV file (RFC 4180).

/// The records after the header, each with the header's number of fields. Says what is wrong with the first bad one.
pub(crate) fn records(text: &str, header: &str) -> Result<Vec<Vec<String>>, String> {
    let mut records = split(text).into_iter();
    let expected: Vec<String> = header.split(',').map(str::to_owned).collect();
    if records.next().as_ref() != Some(&expected) {
        return Err(format!("the header is not {header}"));
    }
    let records: Vec<Vec<String>> = records.collect();
    match records.iter().find(|record| record.len() != expected.len()) {
        Some(bad) => Err(format!("a row has {} fields instead of {}: {bad:?}", bad.len(), expected.len())),
        None => Ok(records),
    }
}

fn split(text: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut field = String::new();
    let mut is_quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => record.push(std::mem::take(&mut field)),
            '\n' if !is_quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(other),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_protect_commas_quotes_and_line_ends() {
        let text = "a,b\n1,\"x, \"\"y\"\"\nz\"\n2,\n";
        let expected = [vec!["1".to_owned(), "x, \"y\"\nz".to_owned()], vec!["2".to_owned(), String::new()]];
        assert_eq!(records(text, "a,b").unwrap(), expected);
        assert!(records("a,b\n1\n", "a,b").is_err());
        assert!(records("a\n1\n", "a,b").is_err());
    }
}
