//! Pure rules: what is a well-formed event, what may be asked for, and where a page begins.

pub mod chain;
mod class;
mod cursor;
mod event;
mod filter;
mod parse;
pub mod personal;
mod rejection;

pub use class::Class;
pub use cursor::{Cursor, PageSize, PageTokenInvalid};
pub use event::{Event, RecordedEvent};
pub use filter::{Filter, FilterInvalid, TypeFilter};
pub use parse::parse_event;
pub use rejection::Rejection;
