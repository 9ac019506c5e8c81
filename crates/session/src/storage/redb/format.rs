//! The version of the file's format, and the steps from an older one.

use redb::{Database, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, WriteTransaction};

use super::{FORMAT, LAST_WAIT, META, N_CHANGES, PART_PLACES, PARTS, RECORDS, RUNS, SESSIONS, STANDINGS};
use super::{WAITPOINTS, failed};
use crate::StorageError;

/// Rewrites a file of one version as the next one.
pub(super) type Step = fn(&WriteTransaction) -> Result<(), StorageError>;

/// The steps from version 1 on: the first one makes version 2 of it.
pub(super) const STEPS: &[Step] = &[without_bodies];

/// Where version 1 kept the bodies of chat snapshots; version 2 keeps which objects they are.
const BODIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("snapshots");

/// Drops the table of bodies. No release ever wrote one; a store that has some is refused rather than robbed of what may be trimmed.
fn without_bodies(txn: &WriteTransaction) -> Result<(), StorageError> {
    let n_bodies = txn.open_table(BODIES).map_err(failed)?.len().map_err(failed)?;
    if n_bodies > 0 {
        return Err(StorageError::Outdated { reason: format!("it holds {n_bodies} chat snapshots inside") });
    }
    txn.delete_table(BODIES).map_err(failed)?;
    Ok(())
}

/// Makes an empty file a store, and an older store one of today's version, which is one more than there are `steps`.
///
/// All steps are one transaction: a crash in between leaves the old version whole.
pub(super) fn bring_up(db: &Database, file: &str, steps: &[Step]) -> Result<(), StorageError> {
    let known = steps.len() as u64 + 1;
    let txn = db.begin_write().map_err(failed)?;
    let found = txn.open_table(META).map_err(failed)?.get(FORMAT).map_err(failed)?.map(|version| version.value());
    match found {
        Some(found) if found == known => return txn.abort().map_err(failed),
        Some(found @ 1..) if found < known => {
            let done = usize::try_from(found - 1).expect("fewer than there are steps");
            steps[done..].iter().try_for_each(|step| step(&txn))?;
        }
        Some(found) => return Err(StorageError::Format { file: file.to_owned(), found, known }),
        None => make_tables(&txn, file)?,
    }
    txn.open_table(META).map_err(failed)?.insert(FORMAT, known).map_err(failed)?;
    txn.commit().map_err(failed)
}

/// Makes every table, so that reads find them; a file that has tables but no version is not ours.
fn make_tables(txn: &WriteTransaction, file: &str) -> Result<(), StorageError> {
    if txn.list_tables().map_err(failed)?.count() > 1 {
        return Err(StorageError::Damaged { reason: format!("{file} names no format version") });
    }
    let mut meta = txn.open_table(META).map_err(failed)?;
    meta.insert(N_CHANGES, 0).map_err(failed)?;
    meta.insert(LAST_WAIT, 0).map_err(failed)?;
    for table in [SESSIONS, STANDINGS, RUNS, WAITPOINTS] {
        txn.open_table(table).map_err(failed)?;
    }
    txn.open_table(RECORDS).map_err(failed)?;
    txn.open_table(PARTS).map_err(failed)?;
    txn.open_table(PART_PLACES).map_err(failed)?;
    Ok(())
}
