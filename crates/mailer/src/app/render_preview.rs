use auth_events::commands::{Locale, MailTemplate};
use service_error::{ErrorKind, ServiceError};

use crate::mail::renderer::{RenderError, RenderedMail, Renderer};

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum RenderPreviewError {
    /// The template cannot be filled.
    #[error("the sample cannot be put into words")]
    Render(#[from] RenderError),
}

/// `template` in `locale`, with parameters that look like real ones and open nothing.
pub fn render_preview(
    renderer: &Renderer,
    template: MailTemplate,
    locale: Locale,
) -> Result<RenderedMail, RenderPreviewError> {
    Ok(renderer.preview(template, locale)?)
}

impl ServiceError for RenderPreviewError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }

    fn reason(&self) -> &'static str {
        "internal"
    }
}
