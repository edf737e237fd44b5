//! The two languages of the pages. Each text stands in both where it is used: `l.t("Live", "追尾")`.

/// What a reader reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lang {
    /// English; also for everybody whose language is not here.
    #[default]
    En,
    /// Japanese.
    Ja,
}

impl Lang {
    /// The first that says something: the address, the cookie, what the browser prefers.
    pub(crate) fn choose(address: &str, cookie: Option<&str>, accept: Option<&str>) -> Self {
        Self::named(address)
            .or_else(|| cookie.and_then(Self::named))
            .or_else(|| accept.and_then(Self::preferred))
            .unwrap_or_default()
    }

    fn named(code: &str) -> Option<Self> {
        match code {
            "ja" => Some(Self::Ja),
            "en" => Some(Self::En),
            _ => None,
        }
    }

    /// From `Accept-Language` (RFC 9110 12.5.4): the best of ours by weight, then by place.
    fn preferred(accept: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for range in accept.split(',') {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
            let Some(lang) = Self::named(tag.split('-').next().unwrap_or_default()) else {
                continue;
            };
            let weight = parts
                .find_map(|p| p.trim().strip_prefix("q="))
                .map_or(1.0, |q| q.parse().unwrap_or(0.0));
            if weight > 0.0 && best.is_none_or(|(w, _)| weight > w) {
                best = Some((weight, lang));
            }
        }
        best.map(|(_, lang)| lang)
    }

    /// Its tag (BCP 47).
    pub(crate) fn code(self) -> &'static str {
        self.t("en", "ja")
    }

    /// The text in this language.
    pub(crate) fn t<T>(self, en: T, ja: T) -> T {
        match self {
            Self::En => en,
            Self::Ja => ja,
        }
    }
}

/// `1234567` as `1,234,567`; both languages write it so.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A length of time in its largest unit: `0.3 s`, `14 min`, `3 days`.
pub(crate) fn length(l: Lang, millis: i64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        ..10 => format!("{}.{} {}", seconds.max(0), (millis.max(0) % 1_000) / 100, l.t("s", "秒")),
        10..120 => format!("{seconds} {}", l.t("s", "秒")),
        120..7_200 => format!("{} {}", seconds / 60, l.t("min", "分")),
        7_200..172_800 => format!("{} {}", seconds / 3_600, l.t("h", "時間")),
        _ => format!("{} {}", seconds / 86_400, l.t("days", "日")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_first_that_is_said() {
        for (address, cookie, accept, want) in [
            ("", None, None, Lang::En),
            ("", None, Some("ja"), Lang::Ja),
            ("", None, Some("fr-FR,ja;q=0.7,en;q=0.3"), Lang::Ja),
            ("", None, Some("en-GB,ja;q=0.9"), Lang::En),
            ("", None, Some("ja;q=0, en;q=0.1"), Lang::En),
            ("", None, Some("ja;q=x"), Lang::En),
            ("", Some("ja"), Some("en"), Lang::Ja),
            ("en", Some("ja"), Some("ja"), Lang::En),
            ("xx", None, Some("*"), Lang::En),
        ] {
            assert_eq!(
                Lang::choose(address, cookie, accept),
                want,
                "{address} {cookie:?} {accept:?}"
            );
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (n, want) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), want);
        }
    }

    #[test]
    fn lengths_have_one_unit() {
        for (millis, want) in [
            (-5, "0.0 s"),
            (340, "0.3 s"),
            (61_000, "61 s"),
            (900_000, "15 min"),
            (90_000_000, "25 h"),
            (864_000_000, "10 days"),
        ] {
            assert_eq!(length(Lang::En, millis), want);
        }
    }
}
