//! DKIM signatures (RFC 6376, and RFC 8463 for Ed25519), relaxed in header and body.

use std::{fmt, str, sync::Arc};

use base64::prelude::*;
use chrono::{DateTime, Utc};
use rustls::{
    SignatureAlgorithm, SignatureScheme,
    crypto::ring::sign::any_supported_type,
    sign::{Signer, SigningKey},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};

/// The headers that are signed where they are there.
const SIGNED: &[&str] = &[
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "auto-submitted",
    "list-unsubscribe",
    "mime-version",
    "content-type",
];
/// Those that are signed once more than they are there, so that nobody can add another.
const SEALED: &[&str] = &["from", "to", "subject", "reply-to"];
/// Mail systems break longer lines where they like.
const SIGNATURE_LINE: usize = 70;

/// Signs mails in the name of a domain.
#[derive(Clone)]
pub struct Dkim {
    key: Arc<dyn SigningKey>,
    algorithm: Algorithm,
    domain: String,
    selector: String,
}

#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Rsa,
    Ed25519,
}

/// Why a key or a name is no good.
#[derive(Debug, thiserror::Error)]
pub enum DkimError {
    /// It is no private key in PEM.
    #[error("not a private key in PEM")]
    NotAKey,
    /// It is of a kind, or a size, that DKIM or we do not know.
    #[error("neither an RSA key of 2048 to 4096 bits nor an Ed25519 key")]
    UnknownKey,
    /// A signature could not be made.
    #[error("the signature cannot be made")]
    Sign,
    /// The mail has no end of its headers.
    #[error("the mail has no headers")]
    NoHeaders,
}

impl Dkim {
    /// Signs with the PEM key `pem` for `selector._domainkey.domain`.
    pub fn new(pem: &str, selector: &str, domain: &str) -> Result<Self, DkimError> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| DkimError::NotAKey)?;
        let key = any_supported_type(&key).map_err(|_| DkimError::UnknownKey)?;
        let algorithm = match key.algorithm() {
            SignatureAlgorithm::RSA => Algorithm::Rsa,
            SignatureAlgorithm::ED25519 => Algorithm::Ed25519,
            _ => return Err(DkimError::UnknownKey),
        };
        Ok(Self { key, algorithm, domain: domain.to_owned(), selector: selector.to_owned() })
    }

    /// The domain that signs.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The mail with its signature in front.
    pub fn sign(&self, mail: &[u8], at: DateTime<Utc>) -> Result<Vec<u8>, DkimError> {
        let end = mail.windows(4).position(|it| it == b"\r\n\r\n").ok_or(DkimError::NoHeaders)?;
        let (head, body) = (mail.get(..end + 2), mail.get(end + 4..));
        let (Some(head), Some(body)) = (head, body) else { return Err(DkimError::NoHeaders) };
        let head = str::from_utf8(head).map_err(|_| DkimError::NoHeaders)?;
        let headers = headers(head);
        let mut names = Vec::new();
        let mut signed = String::new();
        for name in SIGNED {
            for (_, header) in headers.iter().rev().filter(|(it, _)| it == name) {
                names.push(*name);
                signed.push_str(header);
                signed.push_str("\r\n");
            }
            if SEALED.contains(name) {
                names.push(name);
            }
        }
        let unsigned = format!(
            "DKIM-Signature: v=1; a={}; c=relaxed/relaxed;\r\n d={};\r\n s={}; t={};\r\n h={};\r\n bh={};\r\n b=",
            self.algorithm.name(),
            self.domain,
            self.selector,
            at.timestamp(),
            names.join(":\r\n  "),
            BASE64_STANDARD.encode(Sha256::digest(relaxed_body(body))),
        );
        for (_, header) in self::headers(&unsigned) {
            signed.push_str(&header);
        }
        let signature = BASE64_STANDARD.encode(self.signature(signed.as_bytes())?);
        let mut message = unsigned;
        for (index, line) in signature.as_bytes().chunks(SIGNATURE_LINE).enumerate() {
            if index > 0 {
                message.push_str("\r\n  ");
            }
            message.push_str(str::from_utf8(line).unwrap_or_default());
        }
        message.push_str("\r\n");
        Ok([message.as_bytes(), mail].concat())
    }

    fn signature(&self, signed: &[u8]) -> Result<Vec<u8>, DkimError> {
        let by = |scheme| -> Result<Box<dyn Signer>, DkimError> {
            self.key.choose_scheme(&[scheme]).ok_or(DkimError::Sign)
        };
        let signature = match self.algorithm {
            Algorithm::Rsa => by(SignatureScheme::RSA_PKCS1_SHA256)?.sign(signed),
            // RFC 8463 signs the hash.
            Algorithm::Ed25519 => by(SignatureScheme::ED25519)?.sign(&Sha256::digest(signed)),
        };
        signature.map_err(|_| DkimError::Sign)
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rsa => "rsa-sha256",
            Self::Ed25519 => "ed25519-sha256",
        }
    }
}

impl fmt::Debug for Dkim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dkim({}._domainkey.{})", self.selector, self.domain)
    }
}

/// Name and relaxed form of each header, in their order (RFC 6376, 3.4.2).
fn headers(head: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    for line in unfolded.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let name = name.trim_end().to_ascii_lowercase();
        let value = value.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        headers.push((name.clone(), format!("{name}:{value}")));
    }
    headers
}

/// The relaxed form of a body (RFC 6376, 3.4.4).
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut relaxed = Vec::with_capacity(body.len());
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut space = false;
        for byte in line {
            if matches!(byte, b' ' | b'\t') {
                space = true;
                continue;
            }
            if std::mem::take(&mut space) {
                relaxed.push(b' ');
            }
            relaxed.push(*byte);
        }
        relaxed.extend_from_slice(b"\r\n");
    }
    while relaxed.ends_with(b"\r\n\r\n") {
        relaxed.truncate(relaxed.len() - 2);
    }
    if relaxed == b"\r\n" { Vec::new() } else { relaxed }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mail and key are those of RFC 8463, appendix A, the key as PKCS#8.
    const MAIL: &str = "From: Joe SixPack <joe@football.example.com>\r\n\
        To: Suzie Q <suzie@shopping.example.net>\r\n\
        Subject: Is dinner ready?\r\n\
        Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
        Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
        \r\n\
        Hi.\r\n\
        \r\n\
        We lost the game.  Are you hungry yet?\r\n\
        \r\n\
        Joe.\r\n";
    const BODY_HASH: &str = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";
    /// Made and verified with another implementation (dkimpy 1.1): Ed25519 has one signature only.
    const SIGNATURE: &str =
        "MnGMlLgf4P8j6ItfsQIKLFU3BEt8IsB4ltAJa7cd9IwYrI7XSZTtH5Xjn+eCU8fTndjjCLWDgVRlOCdplL/6Cw==";
    const ED25519: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn bodies_are_relaxed_as_the_standard_says() {
        let body = MAIL.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(BASE64_STANDARD.encode(Sha256::digest(relaxed_body(body.as_bytes()))), BODY_HASH);
        assert_eq!(relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
        assert_eq!(relaxed_body(b""), b"");
        assert_eq!(relaxed_body(b"\r\n\r\n"), b"");
        assert_eq!(relaxed_body(b"no end"), b"no end\r\n");
    }

    #[test]
    fn headers_are_relaxed_as_the_standard_says() {
        let relaxed = headers("A: X\r\nB : Y\t\r\n\tZ  \r\n");
        assert_eq!(relaxed, [("a".to_owned(), "a:X".to_owned()), ("b".to_owned(), "b:Y Z".to_owned())]);
    }

    #[test]
    fn a_signature_is_made_over_what_it_names() {
        let dkim = Dkim::new(ED25519, "brisbane", "football.example.com").unwrap();
        let at = DateTime::from_timestamp(1_528_637_909, 0).unwrap();
        let signed = String::from_utf8(dkim.sign(MAIL.as_bytes(), at).unwrap()).unwrap();
        assert!(signed.ends_with(MAIL));
        let signature = headers(&signed).remove(0).1.replace(' ', "");
        assert_eq!(
            signature,
            format!(
                "dkim-signature:v=1;a=ed25519-sha256;c=relaxed/relaxed;d=football.example.com;s=brisbane;t=1528637909;\
                 h=from:from:to:to:subject:subject:date:message-id:reply-to;bh={BODY_HASH};b={SIGNATURE}"
            )
        );
        assert!(signed.lines().all(|line| line.len() <= 78), "{signed}");
        let other = MAIL.replace("dinner", "supper");
        assert_ne!(dkim.sign(other.as_bytes(), at).unwrap()[..400], signed.as_bytes()[..400]);
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        for pem in ["", "hush", "-----BEGIN PRIVATE KEY-----\naHVzaA==\n-----END PRIVATE KEY-----\n"] {
            let error = Dkim::new(pem, "s", "example.com").unwrap_err();
            assert!(!error.to_string().contains("hush"));
        }
    }
}
