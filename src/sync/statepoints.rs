//! State points, which are what a job's id says, or the job is left out.

use crate::pyjson;
use crate::statepoint::{JobId, StatePoint};

/// Reads a job's state point from the content of its file.
///
/// # Errors
///
/// Says why it is not that of the id; a lower-case fragment.
pub fn verify(id: &JobId, bytes: &[u8]) -> Result<StatePoint, String> {
    let value = pyjson::parse_bytes(bytes)
        .map_err(|error| format!("its state point is not JSON: {error}"))?;
    let statepoint = StatePoint::from_value(value).map_err(|error| error.to_string())?;
    match statepoint.id() {
        found if found == *id => Ok(statepoint),
        found => Err(format!("its state point belongs to the id {found}")),
    }
}
