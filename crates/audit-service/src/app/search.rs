use std::borrow::Cow;

use service_error::{ErrorKind, ServiceError};

use super::AuditLog;
use crate::{
    domain::{Cursor, Filter, FilterInvalid, PageSize, PageTokenInvalid, RecordedEvent},
    store,
};

/// Some of the events that were found.
#[derive(Debug)]
pub struct Page {
    /// Newest first.
    pub events: Vec<RecordedEvent>,
    /// Gets the next page; `None` on the last one.
    pub next_page_token: Option<String>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("the filter makes no sense")]
    FilterInvalid(#[from] FilterInvalid),
    #[error("the page token is not ours")]
    PageTokenInvalid(#[from] PageTokenInvalid),
    #[error("the log cannot be read")]
    Database(#[from] pg::Error),
}

impl AuditLog {
    /// The newest events that match `filter`, or those after the page that `page_token` came with. Events that arrive meanwhile
    /// do not shift the pages.
    pub async fn search(
        &self,
        filter: &Filter,
        page_size: PageSize,
        page_token: Option<&str>,
    ) -> Result<Page, SearchError> {
        let cursor = page_token.map(|token| Cursor::open(token, filter, &self.cursor_keys)).transpose()?;
        let size = page_size.rows();
        let mut conn = self.database.connection().await?;
        // One more than the page holds tells whether there is another page.
        let limit = i64::try_from(size).map_or(i64::MAX, |size| size + 1);
        let tag = match filter.ip {
            // An address without a tag is nowhere; an empty tag is no row's.
            Some(ip) => Some(self.personal.tag(&mut conn, ip).await?.unwrap_or_default()),
            None => None,
        };
        let before = cursor.map(|cursor| cursor.before);
        let mut rows = store::events::search(&mut conn, filter, tag.as_deref(), before, limit).await?;
        let more = rows.len() > size;
        rows.truncate(size);
        let events = self.personal.open(&mut conn, rows).await?;
        let next = events.last().filter(|_| more).map(|last| Cursor { before: last.seq });
        let next_page_token =
            next.map(|cursor| cursor.seal(filter, &self.cursor_keys, &mut clock::secure_rng()));
        Ok(Page { events, next_page_token })
    }
}

impl ServiceError for SearchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::FilterInvalid(_) | Self::PageTokenInvalid(_) => ErrorKind::Malformed,
            Self::Database(error) => super::database_error_kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::FilterInvalid(_) => "filter_invalid",
            Self::PageTokenInvalid(_) => "page_token_invalid",
            Self::Database(error) => super::database_error_reason(error),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::FilterInvalid(invalid) => Cow::Owned(format!("{invalid}.")),
            Self::PageTokenInvalid(_) => Cow::Borrowed("The page token does not belong to this search."),
            Self::Database(_) => Cow::Borrowed(self.kind().title()),
        }
    }
}
