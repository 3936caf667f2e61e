use minijinja::{Value, context};
use url::Url;

use super::overrides::Overrides;
use crate::domain::color::Color;

/// What mails are written on, in the light and in the dark; the same as in the layout.
const LIGHT_CARD: Color = Color::WHITE;
const DARK_CARD: Color = Color::new(0x1f, 0x29, 0x37);

/// How the platform presents itself in mails.
#[derive(Debug, Clone)]
pub struct Brand {
    /// The product's name.
    pub name: String,
    /// A picture in place of the name, the same for every mail: it tells nobody who reads one.
    pub logo_url: Option<Url>,
    /// The colour of buttons and links.
    pub color: Color,
    /// The same for mail programs with a dark background, if not derived.
    pub color_dark: Option<Color>,
    /// Where to ask for help, if anywhere.
    pub support_email: Option<String>,
    /// Who writes, with the postal address: the last line of every mail.
    pub address: Option<String>,
    /// Files in place of the built-in ones.
    pub templates: Overrides,
}

impl Brand {
    /// The colour where none is chosen.
    pub const COLOR: Color = Color::new(0x1d, 0x4e, 0xd8);

    /// A brand that is nothing but a name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            logo_url: None,
            color: Self::COLOR,
            color_dark: None,
            support_email: None,
            address: None,
            templates: Overrides::default(),
        }
    }

    /// The colours of the style sheet, changed where they could not be seen or read as they are.
    pub(super) fn palette(&self) -> Value {
        let dark = self.color_dark.unwrap_or(self.color);
        let dark_button = dark.visible_on(DARK_CARD);
        context! {
            button => self.color.to_string(),
            button_text => self.color.text_upon().to_string(),
            link => self.color.readable_on(LIGHT_CARD).to_string(),
            dark_button => dark_button.to_string(),
            dark_button_text => dark_button.text_upon().to_string(),
            dark_link => dark.readable_on(DARK_CARD).to_string(),
        }
    }
}
