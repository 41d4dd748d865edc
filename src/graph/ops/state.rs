//! States: tensors that outlive a prediction.

use super::arguments::{Arguments, Inferred, require};
use super::domain::ANY;
use super::{Kind, Param, Row};
use crate::target::Target;

const STATE: Param = Param::tensor("input", ANY).of(Kind::State);

pub(super) static ROWS: &[Row] = &[
    Row::new("read_state", &[STATE], read_state).since(Target::Ios18),
    // Returns nothing; who wants the new content reads it.
    Row::new("write_state", &[STATE, Param::tensor("data", ANY)], write_state).since(Target::Ios18),
];

fn read_state(args: &Arguments<'_>) -> Inferred {
    Ok(vec![args.tensor("input")?.clone().into()])
}

fn write_state(args: &Arguments<'_>) -> Inferred {
    let (state, data) = (args.tensor("input")?, args.tensor("data")?);
    require(state == data, || format!("`data` is {data}, and the state {state}"))?;
    Ok(Vec::new())
}
