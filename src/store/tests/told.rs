//! What was told to senders and readers, and whether a store still keeps to it.

use super::*;

/// What was promised until now, over all runs of a store.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Durable and visible, as the store's hook was told; not looked at yet.
    committed: Arc<Mutex<Vec<(u64, String)>>>,
    /// What every id that was ever seen is.
    seen: BTreeMap<u64, String>,
    /// Neither acknowledged nor refused: may be there or not.
    unknown: Vec<String>,
}

impl Told {
    /// To be told every accepted batch.
    pub(super) fn hook(&self) -> CommitHook {
        let committed = Arc::clone(&self.committed);
        Box::new(move |batch| {
            let each = batch.iter().map(|r| (r.id, r.message().to_owned()));
            committed.lock().unwrap().extend(each);
        })
    }

    /// Hands in a batch.
    pub(super) fn append(&mut self, store: &Store, records: Vec<Record>) -> Result<(), String> {
        let texts: Vec<String> = records.iter().map(|r| r.message().to_owned()).collect();
        let answer = append(store, records);
        let visible = self.note()?;
        match answer {
            Ok(()) if texts != visible => Err(format!("{texts:?} are acked, {visible:?} seen")),
            Err(_) if !visible.is_empty() => Err(format!("{texts:?} are refused but seen")),
            Ok(()) | Err(Error::Busy(_)) => Ok(()),
            Err(_) => {
                self.unknown.extend(texts);
                Ok(())
            }
        }
    }

    /// Takes note of what was committed; gives its texts.
    fn note(&mut self) -> Result<Vec<String>, String> {
        let mut texts = Vec::new();
        for (id, text) in std::mem::take(&mut *self.committed.lock().unwrap()) {
            if let Some(before) = self.seen.insert(id, text.clone()) {
                return Err(format!("id {id} of {text:?} was that of {before:?}"));
            }
            texts.push(text);
        }
        Ok(texts)
    }

    /// Is all there that must be, and nothing else? What is seen now is held to from now on.
    pub(super) fn check(&mut self, store: &Store) -> Result<(), String> {
        self.note()?;
        let found: BTreeMap<u64, String> = listed(store)?.into_iter().collect();
        for (id, text) in &found {
            match self.seen.get(id) {
                Some(known) if known == text => {}
                Some(known) => return Err(format!("id {id} was {known:?}, is {text:?}")),
                None => {
                    let at = self.unknown.iter().position(|unknown| unknown == text);
                    if let Some(at) = at {
                        self.unknown.swap_remove(at);
                    } else {
                        return Err(format!("{text:?} ({id}) was refused, or is there twice"));
                    }
                    self.seen.insert(*id, text.clone());
                }
            }
        }
        match self.seen.iter().find(|(id, _)| !found.contains_key(id)) {
            Some((id, text)) => Err(format!("{text:?} ({id}) was seen and is not there")),
            None => Ok(()),
        }
    }
}

/// Ids and messages of all that is visible.
pub(super) fn listed(store: &Store) -> Result<Vec<(u64, String)>, String> {
    let snapshot = store.snapshot();
    let mut found = Vec::new();
    for record in snapshot.in_order(0, u64::MAX) {
        let record = record.map_err(|error| format!("cannot be read: {error}"))?;
        found.push((record.id, record.message().to_owned()));
    }
    if found.is_sorted_by(|a, b| a.0 < b.0) { Ok(found) } else { Err(format!("{found:?}")) }
}
