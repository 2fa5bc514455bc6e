"""All checks under the headings of the table."""

from segkit.losses.checks import contract, edges, gradient, ignored, inputs, iterations, order, weights

#: Heading of the table -> checks.
GROUPS = {
    "contract": contract.CHECKS,
    "gradient": gradient.CHECKS,
    "ignored pixels": ignored.CHECKS,
    "edges": edges.CHECKS,
    "order": order.CHECKS,
    "inputs": inputs.CHECKS,
    "weight map": weights.CHECKS,
    "iteration": iterations.CHECKS,
}
