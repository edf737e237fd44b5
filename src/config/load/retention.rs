//! `[[retention]]` and `[storage]`: how long what is kept, and how much room it may take.

use super::{Node, Raw, Reading, Size, read_size};
use crate::base::limits::LIVE_BYTES_MAX;
use crate::base::record::Severity;
use crate::config::{DEFAULT_CLASS, Keep, OnFull, Retention, Storage, is_class_name};

/// `max_size` holds so many live parts at least.
const LIVE_PARTS_MIN: usize = 8;

impl Reading<'_> {
    /// `live_bytes`: what is sealed at once where the configuration says so. Less than some of
    /// that would be dropped as soon as it is written.
    pub(super) fn storage(&mut self, node: Option<&Node>, live_bytes: Option<usize>) -> Storage {
        let empty = Node::empty();
        let mut section = self.section(node.unwrap_or(&empty), "[storage]", 0, "storage.");
        let max = self.required(&mut section, "max_size", "\"none\"", max_size);
        let min_free = self.required(&mut section, "min_free", "\"1GiB\"", bytes);
        let on_full = self.required(&mut section, "on_full", "\"refuse\"", on_full);
        let least = (live_bytes.unwrap_or(LIVE_BYTES_MAX) * LIVE_PARTS_MIN) as u64;
        if let (Some(Some(max)), Some(node)) = (max, section.node.get("max_size"))
            && max < least
        {
            let expected = format!(
                "a size such as \"500GB\", at least {LIVE_PARTS_MIN} times live_size ({} MiB), or \"none\"",
                least.div_ceil(1 << 20)
            );
            self.wrong(node, "storage.max_size", &expected);
        }
        self.finish(&section);
        Storage {
            max_bytes: max.flatten(),
            min_free_bytes: min_free.unwrap_or_default(),
            on_full: on_full.unwrap_or_default(),
        }
    }

    /// None where nothing is written: then nothing goes for its age.
    pub(super) fn retention(&mut self, node: Option<&Node>) -> Vec<Retention> {
        let Some(node) = node else { return Vec::new() };
        let Raw::List(entries) = &node.raw else {
            self.wrong(node, "retention", "a list of tables such as [{keep = \"30d\"}]");
            return Vec::new();
        };
        let mut rules: Vec<Retention> = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let rule = self.rule(entry, number);
            // They are names of directories, which some file systems keep in one case.
            if rules.iter().any(|other| other.name.eq_ignore_ascii_case(&rule.name)) {
                let detail =
                    format!("{:?} is taken: every rule needs a name of its own", rule.name);
                self.problem(entry, &format!("retention[{number}].name"), &detail);
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&mut self, node: &Node, number: usize) -> Retention {
        let prefix = format!("retention[{number}].");
        let mut section = self.section(node, "[[retention]]", number, &prefix);
        let written = node.get("name").is_some();
        let name = self.optional(&mut section, "name", class_name);
        let hosts = self.optional(&mut section, "host", patterns).unwrap_or_default();
        let apps = self.optional(&mut section, "app", patterns).unwrap_or_default();
        let severities = self.optional(&mut section, "severity", severities);
        let keep = self.optional(&mut section, "keep", keep);
        if node.get("keep").is_none() && matches!(node.raw, Raw::Table(_)) {
            let detail = "missing: how long is it kept? such as \"30d\" or \"forever\"";
            self.problem(node, &format!("{prefix}keep"), detail);
        }
        let takes_all = ["host", "app", "severity"].iter().all(|key| node.get(key).is_none());
        let at = format!("{prefix}name");
        match (&name, takes_all) {
            (Some(name), true) if name != DEFAULT_CLASS => {
                let detail = format!(
                    "takes every record, as `{DEFAULT_CLASS}` does: call it so, or say `host`, \
                     `app` or `severity`"
                );
                self.problem(node, &at, &detail);
            }
            (Some(name), false) if name == DEFAULT_CLASS => {
                let detail = "`default` is what no other rule takes: it has no `host`, `app` or \
                              `severity`";
                self.problem(node, &at, detail);
            }
            (None, false) if !written => {
                self.problem(node, &at, "missing: the directory of these records is called so");
            }
            _ => {}
        }
        self.finish(&section);
        Retention {
            name: name.unwrap_or_else(|| DEFAULT_CLASS.to_owned()),
            hosts,
            apps,
            severities,
            keep: keep.unwrap_or(Keep::Forever),
        }
    }
}

fn class_name(node: &Node) -> Result<String, &'static str> {
    let expected = "a name of letters, digits, `-`, `_` and `.`, at most 64, no `.` in front";
    node.as_text().filter(|t| is_class_name(t)).map(str::to_owned).ok_or(expected)
}

/// One text or a list of them.
fn some_texts<'n>(node: &'n Node) -> Option<Vec<&'n str>> {
    let texts: Vec<&'n str> = match &node.raw {
        Raw::List(items) => items.iter().map(Node::as_text).collect::<Option<_>>()?,
        _ => vec![node.as_text()?],
    };
    (!texts.is_empty()).then_some(texts)
}

fn patterns(node: &Node) -> Result<Vec<String>, &'static str> {
    let expected = "a name, with `*` for any text, or a list of them such as [\"web-*\", \"db-1\"]";
    let texts = some_texts(node).filter(|texts| texts.iter().all(|t| !t.is_empty()));
    Ok(texts.ok_or(expected)?.into_iter().map(str::to_owned).collect())
}

fn severities(node: &Node) -> Result<Vec<Severity>, &'static str> {
    let expected = "a severity such as \"error\", \">=warning\" or \"<info\", or a list such as \
                    [\"error\", \"crit\"]";
    let texts = some_texts(node).ok_or(expected)?;
    let mut found = Vec::new();
    for text in texts {
        // Graver is more, as in a query; the order of `Severity` is the other way round.
        type Is = fn(&Severity, &Severity) -> bool;
        let signs: [(&str, Is); 4] = [
            (">=", |s, x| s <= x),
            ("<=", |s, x| s >= x),
            (">", |s, x| s < x),
            ("<", |s, x| s > x),
        ];
        let (name, is): (&str, Is) = signs
            .iter()
            .find_map(|(sign, is)| Some((text.strip_prefix(sign)?, *is)))
            .unwrap_or((text, |s, x| s == x));
        let than = Severity::from_text(name).ok_or(expected)?;
        found.extend(Severity::ALL.iter().filter(|s| is(s, &than)));
    }
    found.sort_unstable();
    found.dedup();
    if found.is_empty() { Err(expected) } else { Ok(found) }
}

fn keep(node: &Node) -> Result<Keep, &'static str> {
    let expected = "whole days such as \"30d\" or \"12w\", at most 36500d, or \"forever\"";
    let text = node.as_text().ok_or(expected)?;
    if text == "forever" {
        return Ok(Keep::Forever);
    }
    let days = match text.strip_suffix('d') {
        Some(days) => days.parse().ok(),
        None => text.strip_suffix('w').and_then(|n| n.parse::<u32>().ok()?.checked_mul(7)),
    };
    days.filter(|days| (1..=36_500).contains(days)).map(Keep::Days).ok_or(expected)
}

fn max_size(node: &Node) -> Result<Option<u64>, &'static str> {
    let expected = "a size such as \"500GB\", or \"none\"";
    match (node.as_text(), bytes(node)) {
        (Some("none"), _) => Ok(None),
        (_, Ok(bytes)) => Ok(Some(bytes)),
        _ => Err(expected),
    }
}

fn bytes(node: &Node) -> Result<u64, &'static str> {
    let expected = "a size such as \"1GiB\" or \"500MB\"";
    match (&node.raw, node.as_text().and_then(read_size)) {
        (Raw::Int(n), _) => u64::try_from(*n).map_err(|_| expected),
        (_, Some(Size::Bytes(bytes))) => Ok(bytes),
        _ => Err(expected),
    }
}

fn on_full(node: &Node) -> Result<OnFull, &'static str> {
    match node.as_text() {
        Some("refuse") => Ok(OnFull::Refuse),
        Some("drop-oldest") => Ok(OnFull::DropOldest),
        _ => Err("\"refuse\" or \"drop-oldest\""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load_all;
    use super::*;

    #[test]
    fn nothing_goes_by_itself() {
        let config = load_all("", &[], &[]).unwrap().config;
        assert_eq!(config.retention, []);
        let storage = Storage { max_bytes: None, min_free_bytes: 1 << 30, on_full: OnFull::Refuse };
        assert_eq!(config.storage, storage);
    }

    #[test]
    fn rules_are_read_in_their_order() {
        use Severity::{Crit, Debug, Emerg, Error, Info, Trace, Warning};
        let file = "\
[storage]
max_size = \"500GB\"
min_free = \"64MiB\"
on_full = \"drop-oldest\"
[[retention]]
name = \"audit\"
app = [\"sshd\", \"sudo*\"]
keep = \"forever\"
[[retention]]
name = \"noise\"
host = \"web-*\"
severity = \"<info\"
keep = \"7d\"
[[retention]]
name = \"grave\"
severity = [\">=crit\", \"warn\", \"err\"]
keep = \"52w\"
[[retention]]
keep = \"30d\"
";
        let loaded = load_all(file, &[], &[]).unwrap();
        let rule = |name: &str, hosts: &[&str], apps: &[&str], severities, keep| Retention {
            name: name.to_owned(),
            hosts: hosts.iter().map(|t| (*t).to_owned()).collect(),
            apps: apps.iter().map(|t| (*t).to_owned()).collect(),
            severities,
            keep,
        };
        let grave = vec![Emerg, Severity::Alert, Crit, Error, Warning];
        let want = [
            rule("audit", &[], &["sshd", "sudo*"], None, Keep::Forever),
            rule("noise", &["web-*"], &[], Some(vec![Debug, Trace]), Keep::Days(7)),
            rule("grave", &[], &[], Some(grave), Keep::Days(364)),
            rule("default", &[], &[], None, Keep::Days(30)),
        ];
        assert_eq!(loaded.config.retention, want);
        assert_eq!(loaded.config.storage.max_bytes, Some(500_000_000_000));
        assert_eq!(loaded.config.storage.on_full, OnFull::DropOldest);
        let node = |text| Node::from_text("x", text);
        assert_eq!(severities(&node(">=warning")).unwrap().len(), 5);
        assert_eq!(severities(&node("<=info")).unwrap(), [Info, Debug, Trace]);
        assert_eq!(severities(&node("info")).unwrap(), [Info]);
        assert!(severities(&node("<trace")).is_err(), "that is none");
    }

    #[test]
    fn tells_what_is_wrong_and_where() {
        let file = "\
[storage]
max_size = \"10MB\"
on_full = \"drop\"
free = \"1GB\"
[[retention]]
name = \"../up\"
host = \"a\"
keep = \"30 days\"
[[retention]]
name = \"all\"
keep = \"30d\"
[[retention]]
host = \"web-*\"
severity = \"loud\"
keep = \"0d\"
[[retention]]
name = \"default\"
host = \"x\"
[[retention]]
name = \"All\"
app = []
keep = \"1d\"
kep = 1
";
        let problems = load_all(file, &[], &[]).unwrap_err();
        let expected = [
            "f.toml:2: storage.max_size: found \"10MB\", expected a size such as \"500GB\"",
            "f.toml:3: storage.on_full: found \"drop\", expected \"refuse\" or \"drop-oldest\"",
            "f.toml:4: storage.free: there is no such key",
            "f.toml:6: retention[0].name: found \"../up\", expected a name of letters",
            "f.toml:8: retention[0].keep: found \"30 days\", expected whole days such as \"30d\"",
            "f.toml:9: retention[1].name: takes every record, as `default` does",
            "f.toml:12: retention[2].name: missing",
            "f.toml:14: retention[2].severity: found \"loud\", expected a severity such as",
            "f.toml:15: retention[2].keep: found \"0d\", expected whole days",
            "f.toml:16: retention[3].name: `default` is what no other rule takes",
            "f.toml:16: retention[3].keep: missing",
            "f.toml:19: retention[4].name: \"All\" is taken",
            "f.toml:21: retention[4].app: found [], expected a name",
            "f.toml:23: retention[4].kep: there is no such key; did you mean `keep`?",
        ];
        for want in expected {
            assert!(problems.iter().any(|p| p.contains(want)), "no {want:?} in {problems:#?}");
        }
    }
}
