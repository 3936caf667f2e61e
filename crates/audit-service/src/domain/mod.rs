//! Pure rules: what is a well-formed event, what may be asked for, and where a page begins.

pub mod chain;
mod class;
mod criteria;
mod cursor;
mod event;
mod export;
mod filter;
mod free_text;
mod parse;
pub mod personal;
mod rejection;
mod scope;

pub use class::Class;
pub use criteria::Criteria;
pub use cursor::{Cursor, PageSize, PageTokenInvalid, Place, PlaceInvalid, Reader};
pub use event::{Event, RecordedEvent};
pub use export::ExportFormat;
pub use filter::{Filter, FilterInvalid, TypeFilter};
pub use free_text::FreeText;
pub use parse::parse_event;
pub use rejection::Rejection;
pub use scope::{Scope, ScopeExceeded};
