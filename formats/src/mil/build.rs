//! Short constructors of, and views into, the nested messages.

use super::{
    Argument, Binding, BlobFileValue, DataType, DictionaryType, Dimension, ImmediateValue,
    ListType, NamedValueType, Operation, StateType, TensorType, TensorValue, Value, ValueType,
    Values, binding,
    dimension::{self, ConstantDimension, UnknownDimension},
    immediate_value, tensor_value, value, value_type,
};

/// The only blob file that is written; `@model_path` is the folder of `model.mlmodel`.
pub const WEIGHT_FILE_NAME: &str = "@model_path/weights/weight.bin";

impl Dimension {
    /// A known size.
    pub fn fixed(size: u64) -> Self {
        Self { dimension: Some(dimension::Dimension::Constant(ConstantDimension { size })) }
    }

    /// A size that the caller chooses.
    pub fn flexible() -> Self {
        let unknown = UnknownDimension { variadic: false };
        Self { dimension: Some(dimension::Dimension::Unknown(unknown)) }
    }

    /// The size, where it is known.
    pub fn size(&self) -> Option<u64> {
        match self.dimension? {
            dimension::Dimension::Constant(ConstantDimension { size }) => Some(size),
            dimension::Dimension::Unknown(_) => None,
        }
    }
}

impl TensorType {
    /// A tensor of known shape; `[]` is a scalar.
    pub fn fixed(dtype: DataType, shape: &[u64]) -> Self {
        Self::new(dtype, shape.iter().map(|&size| Dimension::fixed(size)).collect())
    }

    /// A tensor of these dimensions.
    pub fn new(dtype: DataType, dimensions: Vec<Dimension>) -> Self {
        Self {
            data_type: dtype.number(),
            rank: dimensions.len() as i64,
            dimensions,
            attributes: Default::default(),
        }
    }

    /// The element type, where it is a known one.
    pub fn dtype(&self) -> Option<DataType> {
        DataType::from_number(self.data_type)
    }

    /// The shape, where every size is known and their number is the rank.
    pub fn shape(&self) -> Option<Vec<u64>> {
        if usize::try_from(self.rank) != Ok(self.dimensions.len()) {
            return None;
        }
        self.dimensions.iter().map(Dimension::size).collect()
    }

    /// The number of elements, where the shape is known and the product does not overflow.
    pub fn elements(&self) -> Option<u64> {
        self.shape()?.into_iter().try_fold(1, u64::checked_mul)
    }
}

impl From<TensorType> for ValueType {
    fn from(tensor: TensorType) -> Self {
        Self { r#type: Some(value_type::Type::Tensor(tensor)) }
    }
}

impl ValueType {
    /// A tensor of known shape; `[]` is a scalar.
    pub fn tensor(dtype: DataType, shape: &[u64]) -> Self {
        TensorType::fixed(dtype, shape).into()
    }

    /// A state that holds a tensor of known shape.
    pub fn state(dtype: DataType, shape: &[u64]) -> Self {
        let wrapped = Some(Box::new(Self::tensor(dtype, shape)));
        Self { r#type: Some(value_type::Type::State(StateType { wrapped_type: wrapped })) }
    }

    /// So many scalars of one type.
    pub fn list(dtype: DataType, length: u64) -> Self {
        let (r#type, length) = (Self::tensor(dtype, &[]).into(), Dimension::fixed(length));
        let list = ListType { r#type: Some(r#type), length: Some(length) };
        Self { r#type: Some(value_type::Type::List(list)) }
    }

    /// Scalars by scalars.
    pub fn dictionary(key: DataType, value: DataType) -> Self {
        let scalar = |dtype| Some(Self::tensor(dtype, &[]).into());
        let dictionary = DictionaryType { key_type: scalar(key), value_type: scalar(value) };
        Self { r#type: Some(value_type::Type::Dictionary(dictionary)) }
    }

    /// The tensor type, where it is one.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match &self.r#type {
            Some(value_type::Type::Tensor(tensor)) => Some(tensor),
            _ => None,
        }
    }
}

impl NamedValueType {
    /// A value's name and type.
    pub fn new(name: impl Into<String>, r#type: impl Into<ValueType>) -> Self {
        Self { name: name.into(), r#type: Some(r#type.into()) }
    }
}

impl Value {
    /// An immediate tensor of known shape; `[]` is a scalar. `values` is the member that
    /// [`DataType::immediate`] names.
    pub fn tensor(dtype: DataType, shape: &[u64], values: tensor_value::Value) -> Self {
        let tensor = immediate_value::Value::Tensor(TensorValue { value: Some(values) });
        Self {
            doc_string: String::new(),
            r#type: Some(ValueType::tensor(dtype, shape)),
            value: Some(value::Value::Immediate(ImmediateValue { value: Some(tensor) })),
        }
    }

    /// A string.
    pub fn string(text: impl Into<String>) -> Self {
        let values = vec![text.into()];
        Self::tensor(DataType::String, &[], tensor_value::Strings { values }.into())
    }

    /// A BOOL scalar.
    pub fn bool(value: bool) -> Self {
        Self::tensor(DataType::Bool, &[], tensor_value::Bools { values: vec![value] }.into())
    }

    /// An INT32 scalar.
    pub fn int32(value: i32) -> Self {
        Self::tensor(DataType::Int32, &[], tensor_value::Ints { values: vec![value] }.into())
    }

    /// An INT32 vector.
    pub fn int32s(values: &[i32]) -> Self {
        let ints = tensor_value::Ints { values: values.to_vec() };
        Self::tensor(DataType::Int32, &[values.len() as u64], ints.into())
    }

    /// A tensor in `bytes`, packed as it would stand in a blob.
    pub fn bytes(dtype: DataType, shape: &[u64], bytes: Vec<u8>) -> Self {
        Self::tensor(dtype, shape, tensor_value::Bytes { values: bytes }.into())
    }

    /// A list of scalars of one type.
    pub fn list(dtype: DataType, members: Vec<Self>) -> Self {
        let r#type = Some(ValueType::list(dtype, members.len() as u64));
        let list = immediate_value::Value::List(Values { values: members });
        let immediate = ImmediateValue { value: Some(list) };
        let value = Some(value::Value::Immediate(immediate));
        Self { doc_string: String::new(), r#type, value }
    }

    /// A tensor in `weight.bin`; `offset` is that of the blob's metadata.
    pub fn blob(dtype: DataType, shape: &[u64], offset: u64) -> Self {
        let blob = BlobFileValue { file_name: WEIGHT_FILE_NAME.into(), offset };
        Self {
            doc_string: String::new(),
            r#type: Some(ValueType::tensor(dtype, shape)),
            value: Some(value::Value::BlobFile(blob)),
        }
    }

    /// The tensor type, where the value is typed as one.
    pub fn tensor_type(&self) -> Option<&TensorType> {
        self.r#type.as_ref()?.as_tensor()
    }

    /// The elements, where the value is an immediate tensor.
    pub fn as_tensor(&self) -> Option<&tensor_value::Value> {
        match self.value.as_ref()? {
            value::Value::Immediate(ImmediateValue {
                value: Some(immediate_value::Value::Tensor(tensor)),
            }) => tensor.value.as_ref(),
            _ => None,
        }
    }

    /// The place, where the value stands in a blob file.
    pub fn as_blob(&self) -> Option<&BlobFileValue> {
        match self.value.as_ref()? {
            value::Value::BlobFile(blob) => Some(blob),
            value::Value::Immediate(_) => None,
        }
    }

    /// The text, where the value is one string.
    pub fn as_string(&self) -> Option<&str> {
        match self.as_tensor()? {
            tensor_value::Value::Strings(strings) => match &strings.values[..] {
                [text] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Argument {
    /// Bound to one value by name.
    pub fn name(name: impl Into<String>) -> Self {
        Self::names([name])
    }

    /// Bound to several values by name.
    pub fn names(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let bind = |name: String| Binding { binding: Some(binding::Binding::Name(name)) };
        Self { arguments: names.into_iter().map(|name| bind(name.into())).collect() }
    }

    /// Bound to a literal.
    pub fn value(value: Value) -> Self {
        Self { arguments: vec![Binding { binding: Some(binding::Binding::Value(value)) }] }
    }

    /// The one binding, where there is exactly one.
    pub fn only(&self) -> Option<&binding::Binding> {
        match &self.arguments[..] {
            [one] => one.binding.as_ref(),
            _ => None,
        }
    }
}

impl Operation {
    /// An operation with the attribute `name`, which every one has.
    pub fn new(r#type: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            r#type: r#type.into(),
            attributes: [("name".into(), Value::string(name))].into(),
            ..Self::default()
        }
    }

    /// A constant; its output has the name and the value's type.
    pub fn constant(name: impl Into<String>, value: Value) -> Self {
        let name = name.into();
        let output = NamedValueType { name: name.clone(), r#type: value.r#type.clone() };
        let mut op = Self::new("const", name);
        op.outputs.push(output);
        op.attributes.insert("val".into(), value);
        op
    }

    /// The same operation with a parameter.
    #[must_use]
    pub fn input(mut self, parameter: impl Into<String>, argument: Argument) -> Self {
        self.inputs.insert(parameter.into(), argument);
        self
    }

    /// The same operation with an attribute.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: Value) -> Self {
        self.attributes.insert(name.into(), value);
        self
    }

    /// The same operation with one more output.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>, r#type: impl Into<ValueType>) -> Self {
        self.outputs.push(NamedValueType::new(name, r#type));
        self
    }
}

macro_rules! into_member {
    ($($message:ident),*) => { $(
        impl From<tensor_value::$message> for tensor_value::Value {
            fn from(values: tensor_value::$message) -> Self {
                Self::$message(values)
            }
        }
    )* };
}
into_member!(Floats, Ints, Bools, Strings, LongInts, Doubles, Bytes);
