use std::borrow::Cow;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use service_error::{ErrorKind, ServiceError};

use super::AuditLog;
use crate::{
    domain::{
        Criteria, Cursor, FilterInvalid, FreeText, PageSize, PageTokenInvalid, Place, PlaceInvalid, Reader,
        RecordedEvent, ScopeExceeded,
    },
    store::{
        self,
        search::{Walk, Wanted},
    },
};

/// Up to here events are counted.
const COUNTED: i64 = 10_000;

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Search {
    pub criteria: Criteria,
    pub place: Place,
    pub page_size: PageSize,
    pub with_total: bool,
    pub reader: Reader,
}

/// Some of the events that were found.
#[derive(Debug)]
pub struct Page {
    /// Newest first.
    pub events: Vec<RecordedEvent>,
    /// Gets the next page; `None` on the last one.
    pub next_page_token: Option<String>,
    /// When it was asked for.
    pub total: Option<Total>,
}

/// How many events match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    Counted(u64),
    /// More than are counted, or too many to look at: what the planner guesses.
    Estimated(u64),
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("the filter makes no sense")]
    FilterInvalid(#[from] FilterInvalid),
    #[error("the filter goes past what the caller may see")]
    ScopeExceeded(#[from] ScopeExceeded),
    #[error("the page token is not ours")]
    PageTokenInvalid(#[from] PageTokenInvalid),
    #[error("pages are not counted that far")]
    PageTooDeep,
    #[error("the log cannot be read")]
    Database(#[from] pg::Error),
}

impl AuditLog {
    /// The newest events that match, or those of another place. Events that arrive meanwhile do not shift pages that are
    /// found by token.
    pub async fn search(&self, search: &Search) -> Result<Page, SearchError> {
        let Search { criteria, reader, .. } = search;
        let mut walk = Walk::newest(0);
        match &search.place {
            Place::First => {}
            Place::Skip(events) => walk.skip = *events,
            Place::Token(token) => {
                let cursor = Cursor::open(token, criteria, reader, &self.cursor_keys, self.clock.now())?;
                walk.before = Some(cursor.before);
            }
        }
        let size = search.page_size.rows();
        // One more than the page holds tells whether there is another page.
        walk.limit = i64::try_from(size).map_or(i64::MAX, |size| size + 1);
        let mut conn = self.database.connection().await?;
        let wanted = self.wanted(&mut conn, criteria).await?;
        let mut rows = store::search::load(&mut conn, &wanted, walk).await?;
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(|last| Cursor { before: last.event.seq });
        let events = self.personal.open(&mut conn, rows).await?;
        let events = events.into_iter().map(|event| criteria.scope().redact(event)).collect();
        let total = if search.with_total { Some(total(&mut conn, &wanted).await?) } else { None };
        let next_page_token = next.map(|cursor| {
            cursor.seal(criteria, reader, &self.cursor_keys, self.clock.now(), &mut clock::secure_rng())
        });
        Ok(Page { events, next_page_token, total })
    }

    /// What `criteria` mean to the database.
    pub(super) async fn wanted(
        &self,
        conn: &mut AsyncPgConnection,
        criteria: &Criteria,
    ) -> pg::Result<Wanted> {
        let mut wanted = Wanted { criteria: criteria.clone(), ..Wanted::all() };
        let filter = criteria.filter();
        if let Some(ip) = filter.ip {
            // An address without a tag is nowhere, and an empty tag is no row's.
            wanted.address = Some(self.personal.tag(conn, ip).await?.unwrap_or_default());
        }
        let text_ip = filter.q.as_ref().and_then(FreeText::ip);
        if let Some(ip) = text_ip.filter(|_| !criteria.scope().omit_personal_data) {
            wanted.text_address = self.personal.tag(conn, ip).await?;
        }
        if filter.from.is_some() || filter.to.is_some() {
            (wanted.timely_after, wanted.timely_up_to) =
                store::search::seq_range(conn, filter.from, filter.to).await?;
        }
        Ok(wanted)
    }
}

/// A total is an extra: it gets a fraction of the time that the page has.
async fn total(conn: &mut AsyncPgConnection, wanted: &Wanted) -> pg::Result<Total> {
    let counted = conn
        .transaction(async |conn| {
            conn.batch_execute("SET LOCAL statement_timeout = '300ms'").await?;
            store::search::count(conn, wanted, COUNTED + 1).await
        })
        .await;
    match counted {
        Ok(events) if events <= COUNTED => Ok(Total::Counted(events.unsigned_abs())),
        Ok(_) => {
            let guess = store::search::estimate(conn, wanted).await?;
            Ok(Total::Estimated(guess.max(COUNTED + 1).unsigned_abs()))
        }
        Err(pg::Error::Timeout(_)) => {
            Ok(Total::Estimated(store::search::estimate(conn, wanted).await?.unsigned_abs()))
        }
        Err(error) => Err(error),
    }
}

impl From<PlaceInvalid> for SearchError {
    fn from(invalid: PlaceInvalid) -> Self {
        match invalid {
            PlaceInvalid::Invalid(invalid) => Self::FilterInvalid(invalid),
            PlaceInvalid::TooDeep => Self::PageTooDeep,
        }
    }
}

impl ServiceError for SearchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::FilterInvalid(_) | Self::PageTokenInvalid(_) | Self::PageTooDeep => ErrorKind::Malformed,
            Self::ScopeExceeded(_) => ErrorKind::Forbidden,
            Self::Database(error) => super::database_error_kind(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::FilterInvalid(_) => "filter_invalid",
            Self::ScopeExceeded(_) => "scope_exceeded",
            Self::PageTokenInvalid(_) => "page_token_invalid",
            Self::PageTooDeep => "page_too_deep",
            Self::Database(error) => super::database_error_reason(error),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::FilterInvalid(invalid) => Cow::Owned(format!("{invalid}.")),
            Self::ScopeExceeded(exceeded) => {
                Cow::Owned(format!("{} cannot be searched for here.", exceeded.field))
            }
            Self::PageTokenInvalid(_) => {
                Cow::Borrowed("The page token does not belong to this search, or has expired.")
            }
            Self::PageTooDeep => Cow::Borrowed("Pages are counted to 10000 events; go on by page token."),
            Self::Database(_) => Cow::Borrowed(self.kind().title()),
        }
    }
}
