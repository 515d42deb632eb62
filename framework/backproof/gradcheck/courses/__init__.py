"""The layers of the courses as right references, each in the form `out, cache = forward(x, w, ...)` and
`dx, dw, ... = backward(dout, cache)`, with the mistakes that people make in them."""

from backproof.gradcheck.courses.affine import AFFINE, COLUMNS, LINEAR
from backproof.gradcheck.courses.attention import ATTENTION
from backproof.gradcheck.courses.convolution import CONV, MAXPOOL
from backproof.gradcheck.courses.elementwise import DROPOUT, RELU, SIGMOID, TANH
from backproof.gradcheck.courses.embedding import EMBEDDING
from backproof.gradcheck.courses.losses import HINGE_LOSS, HINGE_LOSS_SUM, SOFTMAX_LOSS, SOFTMAX_LOSS_SUM
from backproof.gradcheck.courses.normalization import BATCH_NORM, BATCH_NORM_TEST, LAYER_NORM
from backproof.gradcheck.courses.recurrent import LSTM_STEP, RNN_STEP
from backproof.gradcheck.courses.reference import Mistake, Reference

#: By the name that `check_layer(..., layer=)` takes.
REFERENCES: dict[str, tuple[Reference, ...]] = {
    "affine": (AFFINE, LINEAR, COLUMNS),
    "relu": (RELU,),
    "sigmoid": (SIGMOID,),
    "tanh": (TANH,),
    "softmax_loss": (SOFTMAX_LOSS, SOFTMAX_LOSS_SUM),
    "hinge_loss": (HINGE_LOSS, HINGE_LOSS_SUM),
    "batch_norm": (BATCH_NORM, BATCH_NORM_TEST),
    "layer_norm": (LAYER_NORM,),
    "dropout": (DROPOUT,),
    "conv": (CONV,),
    "max_pool": (MAXPOOL,),
    "rnn_step": (RNN_STEP,),
    "lstm_step": (LSTM_STEP,),
    "attention": (ATTENTION,),
    "embedding": (EMBEDDING,),
}

__all__ = ["REFERENCES", "Mistake", "Reference"]
