use auth_events::commands::Locale;
use chrono::{DateTime, Datelike, Utc};

const MONTHS: [(&str, &str); 12] = [
    ("January", "Januar"),
    ("February", "Februar"),
    ("March", "März"),
    ("April", "April"),
    ("May", "Mai"),
    ("June", "Juni"),
    ("July", "Juli"),
    ("August", "August"),
    ("September", "September"),
    ("October", "Oktober"),
    ("November", "November"),
    ("December", "Dezember"),
];

/// A moment to the minute, in UTC: a mail does not know where it is read.
#[must_use]
pub fn moment(locale: Locale, at: DateTime<Utc>) -> String {
    let (english, german) = MONTHS.get(at.month0() as usize).copied().unwrap_or_default();
    let (day, year, time) = (at.day(), at.year(), at.format("%H:%M"));
    match locale {
        Locale::En => format!("{day} {english} {year}, {time} UTC"),
        Locale::De => format!("{day}. {german} {year}, {time} Uhr (UTC)"),
    }
}

/// A span of minutes, in whole hours where it is that.
#[must_use]
pub fn lifetime(locale: Locale, minutes: u32) -> String {
    let (number, unit) = match (locale, minutes) {
        (Locale::En, 1) => (1, "minute"),
        (Locale::En, 60) => (1, "hour"),
        (Locale::De, 1) => (1, "Minute"),
        (Locale::De, 60) => (1, "Stunde"),
        (Locale::En, hours) if hours > 0 && hours % 60 == 0 => (hours / 60, "hours"),
        (Locale::De, hours) if hours > 0 && hours % 60 == 0 => (hours / 60, "Stunden"),
        (Locale::En, minutes) => (minutes, "minutes"),
        (Locale::De, minutes) => (minutes, "Minuten"),
    };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (at, english, german) in [
            ("2026-11-23T14:05:59Z", "23 November 2026, 14:05 UTC", "23. November 2026, 14:05 Uhr (UTC)"),
            ("2026-03-01T00:00:00Z", "1 March 2026, 00:00 UTC", "1. März 2026, 00:00 Uhr (UTC)"),
            (
                "2027-01-01T00:30:00+01:00",
                "31 December 2026, 23:30 UTC",
                "31. Dezember 2026, 23:30 Uhr (UTC)",
            ),
        ] {
            let at = at.parse().unwrap();
            assert_eq!((&*moment(Locale::En, at), &*moment(Locale::De, at)), (english, german));
        }
    }

    #[test]
    fn lifetimes() {
        for (minutes, english, german) in [
            (1, "1 minute", "1 Minute"),
            (30, "30 minutes", "30 Minuten"),
            (60, "1 hour", "1 Stunde"),
            (90, "90 minutes", "90 Minuten"),
            (120, "2 hours", "2 Stunden"),
        ] {
            let spoken = (lifetime(Locale::En, minutes), lifetime(Locale::De, minutes));
            assert_eq!((&*spoken.0, &*spoken.1), (english, german));
        }
    }
}
