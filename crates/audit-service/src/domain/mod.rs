//! Pure rules: what is a well-formed event, what may be asked for, and where a page begins.

mod cursor;
mod event;
mod filter;
mod parse;
mod rejection;

pub use cursor::{Cursor, PageSize, PageTokenInvalid};
pub use event::{Event, RecordedEvent};
pub use filter::{Filter, FilterInvalid, TypeFilter};
pub use parse::parse_event;
pub use rejection::Rejection;
