use std::{fmt, str::FromStr};

/// The least contrast of text against what is behind it (WCAG 2.2, 1.4.3).
const READABLE: f64 = 4.5;
/// The least contrast of a button against what is behind it (WCAG 2.2, 1.4.11).
const VISIBLE: f64 = 3.0;

/// A colour of sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    red: u8,
    green: u8,
    blue: u8,
}

/// It is not written like a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a colour is written like #1d4ed8")]
pub struct NotAColor;

impl Color {
    /// Nothing is darker.
    pub const BLACK: Self = Self::new(0, 0, 0);
    /// Nothing is lighter.
    pub const WHITE: Self = Self::new(255, 255, 255);

    /// A colour by its parts.
    #[must_use]
    pub const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self { red, green, blue }
    }

    /// The colour of text upon this one: white where that can be read, else black, which then can.
    #[must_use]
    pub fn text_upon(self) -> Self {
        if Self::WHITE.contrast(self) >= READABLE { Self::WHITE } else { Self::BLACK }
    }

    /// This colour, or the nearest one that text upon `background` may have.
    #[must_use]
    pub fn readable_on(self, background: Self) -> Self {
        self.with_contrast(READABLE, background)
    }

    /// This colour, or the nearest one that a button upon `background` may have.
    #[must_use]
    pub fn visible_on(self, background: Self) -> Self {
        self.with_contrast(VISIBLE, background)
    }

    /// The contrast ratio of WCAG, from 1 to 21.
    #[must_use]
    pub fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    fn with_contrast(self, least: f64, background: Self) -> Self {
        let end = background.text_upon();
        let steps = (0..=u16::from(u8::MAX)).map(|step| self.mixed(end, step));
        steps.into_iter().find(|color| color.contrast(background) >= least).unwrap_or(end)
    }

    /// `step` 255ths of the way to `end`.
    fn mixed(self, end: Self, step: u16) -> Self {
        let part = |from: u8, to: u8| {
            let sum = u16::from(from) * (255 - step) + u16::from(to) * step;
            u8::try_from(sum / 255).unwrap_or(u8::MAX)
        };
        Self::new(part(self.red, end.red), part(self.green, end.green), part(self.blue, end.blue))
    }

    fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.0722f64.mul_add(linear(self.blue), 0.2126f64.mul_add(linear(self.red), 0.7152 * linear(self.green)))
    }
}

impl FromStr for Color {
    type Err = NotAColor;

    fn from_str(text: &str) -> Result<Self, NotAColor> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).ok_or(NotAColor)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NotAColor);
        }
        let [_, red, green, blue] = u32::from_str_radix(digits, 16).map_err(|_| NotAColor)?.to_be_bytes();
        Ok(Self::new(red, green, blue))
    }
}

/// As in a style sheet.
impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(text: &str) -> Color {
        text.parse().unwrap()
    }

    #[test]
    fn colors_are_six_hexadecimal_digits() {
        assert_eq!(color("#1D4ed8").to_string(), "#1d4ed8");
        for wrong in ["", "#", "1d4ed8", "#fff", "#1d4ed", "#1d4ed80", "#+d4ed8", "#gggggg", "#ääü", "red;}"]
        {
            assert_eq!(wrong.parse::<Color>(), Err(NotAColor), "{wrong:?}");
        }
    }

    #[test]
    fn contrasts_are_those_of_the_standard() {
        let rounded = |one, other| (color(one).contrast(color(other)) * 100.0).round() / 100.0;
        assert!((rounded("#000000", "#ffffff") - 21.0).abs() < 0.001);
        assert!((rounded("#777777", "#ffffff") - 4.48).abs() < 0.001);
        assert!((rounded("#ffffff", "#1d4ed8") - 6.7).abs() < 0.001);
    }

    #[test]
    fn every_color_has_text_and_neighbours_that_can_be_read() {
        let parts = || (0..=255).step_by(17);
        let dark = color("#1f2937");
        for red in parts() {
            for (green, blue) in parts().flat_map(|green| parts().map(move |blue| (green, blue))) {
                let color = Color::new(red, green, blue);
                assert!(color.text_upon().contrast(color) >= READABLE, "{color}");
                for background in [Color::WHITE, dark] {
                    assert!(color.readable_on(background).contrast(background) >= READABLE, "{color}");
                    assert!(color.visible_on(background).contrast(background) >= VISIBLE, "{color}");
                }
            }
        }
    }

    #[test]
    fn what_is_good_stays() {
        assert_eq!(color("#1d4ed8").readable_on(Color::WHITE), color("#1d4ed8"));
        assert_eq!(color("#ffdd00").text_upon(), Color::BLACK);
        assert_eq!(color("#1d4ed8").text_upon(), Color::WHITE);
    }
}
