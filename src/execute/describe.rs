//! What a run gave, for people and machines, and as the names of a file.

use super::Ran;
use crate::report::outputs::{Content, Output};
use crate::runtime::{Data, Tensor, Tensors};
use std::collections::BTreeMap;

/// Numbers of an output that are shown.
const FIRST: usize = 4;

impl Ran {
    /// The outputs of each step, and the states after the last.
    pub fn described(&self) -> (Vec<Vec<Output>>, Vec<Output>) {
        let all = |tensors: &Tensors| tensors.iter().map(|(name, t)| described(name, t)).collect();
        (self.steps.iter().map(all).collect(), all(&self.states))
    }

    /// Every tensor under its name in a file: `NAME`, of several steps `stepN.NAME`; states as
    /// `final.NAME`.
    pub fn named(&self) -> BTreeMap<String, &Tensor> {
        let several = self.steps.len() > 1;
        let steps = self.steps.iter().enumerate().flat_map(|(n, step)| {
            step.iter().map(move |(name, tensor)| match several {
                true => (format!("step{n}.{name}"), tensor),
                false => (name.clone(), tensor),
            })
        });
        let states = self.states.iter().map(|(name, tensor)| (format!("final.{name}"), tensor));
        steps.chain(states).collect()
    }
}

fn described(name: &str, tensor: &Tensor) -> Output {
    let number =
        |array: &ndarray::ArrayD<f32>| Content::numbers(array.iter().map(|&x| f64::from(x)), FIRST);
    let (ty, content) = match &tensor.data {
        Data::Float(array) => (tensor.dtype.to_string(), number(array)),
        Data::Int(array) => {
            let content = Content::numbers(array.iter().map(|&x| f64::from(x)), FIRST);
            (tensor.dtype.to_string(), content)
        }
        Data::Bool(array) => {
            let content = Content::numbers(array.iter().map(|&x| f64::from(u8::from(x))), FIRST);
            (tensor.dtype.to_string(), content)
        }
        Data::Label(label) => ("label".into(), Content::Label { label: label.to_string() }),
        Data::Scores(scores) => {
            let mut scores: Vec<_> =
                scores.iter().map(|(label, score)| (label.to_string(), *score)).collect();
            scores.sort_by(|a, b| b.1.total_cmp(&a.1));
            ("scores".into(), Content::Scores { scores })
        }
    };
    Output { name: name.into(), ty, shape: tensor.shape().to_vec(), content }
}
