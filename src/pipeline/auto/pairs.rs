//! Pairs around layers whose weights were given INT8 inputs, and no others.

use super::super::roles::tensor_of;
use crate::activations::{self, Activations, Given};
use crate::auto::{Form, Input};
use crate::calibrate::Calibration;
use crate::graph::weight::{Data, Storage, Weight};
use crate::graph::{Function, Program, ValueId};
use crate::plan::Options;
use crate::scheme::{Linear, LinearBits, LinearGranularity, Scheme};
use crate::source::SourceTensor;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How activations become INT8.
pub(super) struct Pairs {
    how: Activations,
    calibration: Arc<Calibration>,
}

/// What any layer that could read INT8 could do so beside.
const PLAIN: Scheme = Scheme::Linear(Linear {
    bits: LinearBits::Int8,
    asymmetric: false,
    granularity: LinearGranularity::Channel { axis: 0 },
});

impl Pairs {
    /// What is asked for; `None` for activations in float.
    ///
    /// # Errors
    /// [`Error::Usage`] without ranges, and for pairs that stand whatever the weights are.
    pub(super) fn of(options: &Options) -> Result<Option<Self>> {
        let Some(how) = &options.activations else { return Ok(None) };
        let usage =
            |why: &str| Err(Error::Usage(format!("--scheme auto --activations {how}: {why}")));
        if how.pairs == activations::Pairs::Coremltools {
            return usage("it chooses which layers read INT8; leave --pairs coremltools out");
        }
        match &options.calibration {
            Some(calibration) => {
                let calibration = Arc::clone(calibration);
                Ok(Some(Self { how: how.clone(), calibration }))
            }
            None => usage("ranges come from data; add --calibration"),
        }
    }

    /// Puts pairs before the layers of those weights whose form reads INT8, and where that keeps chains
    /// of them in INT8. These weights then have their scheme's storage, and no values yet. `places` are
    /// the function's weights by tensor. Without `products`, those of two activations stay in float.
    pub(super) fn put(
        &self,
        function: &mut Function,
        places: &[(usize, ValueId)],
        forms: &BTreeMap<usize, Form>,
        tensors: &[SourceTensor],
        products: bool,
    ) {
        let mut any = products && self.how.matmul;
        for &(tensor, id) in places {
            let Some(Form { scheme, input: Input::Int8 }) = forms.get(&tensor) else { continue };
            let constant = &mut function.values[id.0].constant;
            let Some(weight) = constant.as_ref().and_then(|constant| constant.as_weight()) else {
                continue;
            };
            let storage = Storage::planned(*scheme, &tensors[tensor].shape, tensor);
            *constant = Some(Weight { shape: weight.shape.clone(), storage }.into());
            any = true;
        }
        if any {
            let how = Activations { matmul: products && self.how.matmul, ..self.how.clone() };
            self.quantize(function, &how, tensors);
        }
    }

    fn quantize(
        &self,
        function: &mut Function,
        how: &Activations,
        tensors: &[SourceTensor],
    ) -> activations::Quantized {
        let original = |weight: &Weight| {
            let operands = weight.storage.operands();
            operands.into_iter().find_map(|(_, operand)| match operand.data {
                Data::Later(slot) => tensors.get(slot.tensor).map(|tensor| tensor.name.as_str()),
                Data::Bytes(_) => None,
            })
        };
        let given = Given { calibration: &self.calibration, how, original: &original };
        activations::quantize(function, given)
    }

    /// The tensors of a program in float whose layers could read INT8: of a kind that takes it, with an
    /// input that was counted, and not kept in float by a rule.
    pub(super) fn readers(&self, program: &Program, tensors: &[SourceTensor]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for function in program.functions.values() {
            let mut function = function.clone();
            for id in (0..function.values.len()).map(ValueId) {
                let Some(tensor) = tensor_of(&function, id) else { continue };
                let constant = &mut function.values[id.0].constant;
                let weight = constant.as_ref().and_then(|constant| constant.as_weight());
                if let Some(shape) = weight.map(|weight| weight.shape.clone())
                    && shape.len() > 1
                {
                    let storage = Storage::planned(PLAIN, &shape, tensor);
                    *constant = Some(Weight { shape, storage }.into());
                }
            }
            let quantized = self.quantize(&mut function, &self.how, tensors);
            let layers: BTreeSet<&str> = quantized.layers.iter().map(String::as_str).collect();
            let operations = function.operations.iter();
            for operation in operations.filter(|o| layers.contains(o.name.as_str())) {
                let read = operation.arguments.iter().map(|argument| argument.value);
                found.extend(read.filter_map(|id| tensor_of(&function, id)));
            }
        }
        found
    }
}

/// Whether a layer multiplies a weight of this shape and scheme in INT8 once its input is.
pub(super) fn multiplies_in_int8(scheme: Scheme, shape: &[usize]) -> bool {
    match scheme {
        Scheme::Float(_) => false,
        Scheme::Linear(_) | Scheme::Palette(_) => {
            Storage::planned(scheme, shape, 0).multiplies_in_int8().is_ok()
        }
    }
}
