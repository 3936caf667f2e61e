use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// The longest address that SMTP can carry (RFC 5321, section 4.5.3.1.3, less the angle brackets).
const MAX_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;

/// An e-mail address in its one canonical form: NFC, the local part in lower case ASCII, the domain as lower case A-labels (UTS #46).
///
/// Two spellings that mail systems would deliver to one mailbox are one address here, or are refused. It has no `Display`: an
/// address is personal data and does not belong in logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

/// The text is not an address that we send mail to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address")]
pub struct NotAnEmailAddress;

impl EmailAddress {
    /// Reads an address: a dot-atom of ASCII characters (RFC 5322, section 3.2.3), `@`, and a domain name of two labels or more.
    pub fn parse(text: &str) -> Result<Self, NotAnEmailAddress> {
        if text.len() > MAX_BYTES {
            return Err(NotAnEmailAddress);
        }
        let text: String = text.nfc().collect();
        let (local, domain) = text.rsplit_once('@').ok_or(NotAnEmailAddress)?;
        if !is_dot_atom(local) || local.len() > MAX_LOCAL_BYTES {
            return Err(NotAnEmailAddress);
        }
        let domain = canonical_domain(domain)?;
        let address = format!("{}@{domain}", local.to_ascii_lowercase());
        if address.len() > MAX_BYTES { Err(NotAnEmailAddress) } else { Ok(Self(address)) }
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(local, _)| local)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress")
    }
}

fn is_dot_atom(local: &str) -> bool {
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.split('.').all(|part| !part.is_empty() && part.bytes().all(atom))
}

fn canonical_domain(domain: &str) -> Result<String, NotAnEmailAddress> {
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| NotAnEmailAddress)?;
    let labels: Vec<&str> = ascii.split('.').collect();
    let top = labels.last().copied().unwrap_or_default();
    let is_name = labels.len() >= 2
        && labels.iter().all(|label| !label.is_empty())
        && !top.bytes().all(|byte| byte.is_ascii_digit());
    if is_name { Ok(ascii) } else { Err(NotAnEmailAddress) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_mailbox_are_one_address() {
        for (spelling, canonical) in [
            ("Ada@Example.Test", "ada@example.test"),
            ("ada@EXAMPLE.test", "ada@example.test"),
            ("ada@bu\u{308}cher.example", "ada@xn--bcher-kva.example"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
            ("a.d+a@example.test", "a.d+a@example.test"),
        ] {
            assert_eq!(EmailAddress::parse(spelling).unwrap().as_str(), canonical, "{spelling}");
        }
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        let long = format!("{}@example.test", "a".repeat(65));
        for text in [
            "",
            "ada",
            "@example.test",
            "ada@",
            "ada@localhost",
            "a b@example.test",
            ".ada@example.test",
            "ada.@example.test",
            "a..da@example.test",
            "ada@example..test",
            "ada@example.test.",
            "ada@-example.test",
            "ada@exa_mple.test",
            "ada@192.168.0.1",
            "ada@[127.0.0.1]",
            "\"ada\"@example.test",
            "ada@ex\0ample.test",
            "ada@example.test\r\nBcc: eve@example.test",
            "adä@example.test",
            "ıda@example.test",
            " ada@example.test",
            "ada@example.test ",
            "<ada@example.test>",
            "ada@eve@example.test,",
            &long,
        ] {
            assert_eq!(EmailAddress::parse(text), Err(NotAnEmailAddress), "{text:?}");
        }
    }
}
