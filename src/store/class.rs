//! The class of a record, picked once when it is sealed.
//!
//! `[[retention]]` rules are tried in their order; the first that matches gives the class, what no
//! rule matches is of the class [`DEFAULT_CLASS`]. A class of a day of arrival is a directory, so
//! that what has had its time (`retention`) goes as whole files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::base::fold::fold;
use crate::base::record::Record;
use crate::config::{DEFAULT_CLASS, Retention};

/// The rules, ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Classes {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    hosts: Vec<Pattern>,
    apps: Vec<Pattern>,
    written: Retention,
}

impl Classes {
    /// In the order in which they are tried.
    pub(super) fn new(rules: Vec<Retention>) -> Self {
        let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
        let ready = |rule: Retention| Rule {
            hosts: patterns(&rule.hosts),
            apps: patterns(&rule.apps),
            written: rule,
        };
        // The default takes what is left, wherever it stands.
        let ruled = rules.into_iter().filter(|rule| rule.name != DEFAULT_CLASS);
        Self { rules: ruled.map(ready).collect() }
    }

    /// Records by class, those of each in their order; in the order of the rules.
    pub(super) fn parted<'a>(
        &self,
        records: &'a [Arc<Record>],
    ) -> Vec<(&str, Cow<'a, [Arc<Record>]>)> {
        if self.rules.is_empty() {
            return vec![(DEFAULT_CLASS, Cow::Borrowed(records))];
        }
        // Hosts and apps are few and records many: patterns are matched once a pair.
        let mut known: HashMap<(&str, &str), Vec<usize>, foldhash::fast::RandomState> =
            HashMap::default();
        let mut parts: Vec<Vec<Arc<Record>>> = vec![Vec::new(); self.rules.len() + 1];
        for record in records {
            let likely = known
                .entry((&record.host, &record.app))
                .or_insert_with(|| self.likely(&record.host, &record.app));
            let is_of = |n: &&usize| self.rules.get(**n).is_some_and(|r| r.has_severity(record));
            let n = likely.iter().find(is_of).copied().unwrap_or(self.rules.len());
            if let Some(part) = parts.get_mut(n) {
                part.push(Arc::clone(record));
            }
        }
        let names = self.rules.iter().map(|r| r.written.name.as_str()).chain([DEFAULT_CLASS]);
        let whole = names.zip(parts).filter(|(_, part)| !part.is_empty());
        whole.map(|(name, part)| (name, Cow::Owned(part))).collect()
    }

    /// The rules whose patterns match, by number.
    fn likely(&self, host: &str, app: &str) -> Vec<usize> {
        let any = |patterns: &[Pattern], text: &str| {
            patterns.is_empty() || patterns.iter().any(|p| p.matches(text))
        };
        let all = self.rules.iter().enumerate();
        all.filter(|(_, r)| any(&r.hosts, host) && any(&r.apps, app)).map(|(n, _)| n).collect()
    }
}

impl Rule {
    fn has_severity(&self, record: &Record) -> bool {
        match &self.written.severities {
            None => true,
            Some(severities) => record.severity.is_some_and(|s| severities.contains(&s)),
        }
    }
}

/// A whole text, in which `*` stands for any text; in any case, as queries compare.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// What stands between the stars; one piece: no star.
    pieces: Vec<String>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self { pieces: text.split('*').map(|piece| fold(piece).into_owned()).collect() }
    }

    fn matches(&self, text: &str) -> bool {
        let text = fold(text);
        let Some((first, others)) = self.pieces.split_first() else { return false };
        let Some((last, middle)) = others.split_last() else { return *text == **first };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for piece in middle {
            let Some(at) = rest.find(piece.as_str()) else { return false };
            rest = rest.get(at + piece.len()..).unwrap_or_default();
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::record::Severity;
    use crate::config::Keep;
    use crate::store::tests::record;

    #[test]
    fn patterns_match_whole_names_in_any_case() {
        for (pattern, text, want) in [
            ("web-1", "web-1", true),
            ("web-1", "web-12", false),
            ("Web-*", "wEB-12.example.org", true),
            ("web-*", "my-web-1", false),
            ("*.example.org", "a.example.org", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*a", "a", false),
            ("a*a", "aba", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "acb", false),
            ("調べ*", "調べもの", true),
            ("ＷＥＢ*", "web-1", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), want, "{pattern} {text}");
        }
    }

    fn rule(name: &str, hosts: &[&str], apps: &[&str], severities: &[Severity]) -> Retention {
        let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        let severities = (!severities.is_empty()).then(|| severities.to_vec());
        Retention {
            name: name.to_owned(),
            hosts: own(hosts),
            apps: own(apps),
            severities,
            keep: Keep::Forever,
        }
    }

    #[test]
    fn the_first_rule_that_matches_gives_the_class() {
        let classes = Classes::new(vec![
            rule("default", &[], &[], &[]),
            rule("audit", &[], &["sshd", "sudo"], &[]),
            rule("noise", &["web-*"], &[], &[Severity::Info, Severity::Debug]),
            rule("web", &["web-*"], &["nginx*"], &[]),
        ]);
        let of = |host: &str, app: &str, severity| {
            let record = Record { host: host.into(), app: app.into(), severity, ..record("x") };
            let records = [Arc::new(record)];
            let parts = classes.parted(&records);
            assert_eq!((parts.len(), parts[0].1.len()), (1, 1));
            parts[0].0.to_owned()
        };
        for (host, app, severity, want) in [
            ("web-1", "sshd", Some(Severity::Debug), "audit"),
            ("WEB-1", "nginx", Some(Severity::Debug), "noise"),
            ("web-1", "nginx", Some(Severity::Error), "web"),
            ("web-1", "nginx", None, "web"),
            ("web-1", "shop", None, "default"),
            ("db-1", "nginx", Some(Severity::Info), "default"),
        ] {
            assert_eq!(of(host, app, severity), want, "{host} {app} {severity:?}");
        }
    }

    #[test]
    fn records_of_a_class_stay_in_their_order() {
        let classes = Classes::new(vec![rule("a", &["a"], &[], &[]), rule("b", &["b"], &[], &[])]);
        let hosts = ["b", "x", "a", "b", "x", "a", "b"];
        let each =
            (1..).zip(hosts).map(|(id, host)| Record { id, host: host.into(), ..record("x") });
        let records: Vec<Arc<Record>> = each.map(Arc::new).collect();
        let parts = classes.parted(&records);
        let got: Vec<(&str, Vec<u64>)> =
            parts.iter().map(|(name, part)| (*name, part.iter().map(|r| r.id).collect())).collect();
        let want = [("a", vec![3, 6]), ("b", vec![1, 4, 7]), ("default", vec![2, 5])];
        assert_eq!(got, want);
        let none = Classes::default();
        assert!(
            matches!(&none.parted(&records)[..], [("default", Cow::Borrowed(all))] if all.len() == 7)
        );
    }
}
