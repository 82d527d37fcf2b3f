"""minicredit against PyTorch, JAX and the machine's own ceiling, side by side in one run.

    python -m benchmarks                    everything, some fourteen minutes on a quiet machine
    python -m benchmarks --only dtp,lc      some of it
    python -m benchmarks --readme           and the tables into README.md

    tasks.py        what is measured: rules, networks, batches; how many operations a step has
    check.py        no contender is timed before it did what the equations say
    peers_torch.py  peers_jax.py            the contenders, each as a careful user writes it
    timing.py       interleaved rounds, medians, the ceiling, the load of the machine, memory
    steps.py  layers.py  start.py  rules.py  ladder.py     one group of rows each
    worker.py       one process for each number of threads, because libraries read it at import
    machine.py      what the numbers depend on: processor, versions, load
    tables.py       on the screen, in Markdown, as CSV

On a GPU, where every library has a process of its own:

    python -m benchmarks.gpu                everything, about four minutes

    gpu_steps.py  gpu_epochs.py  gpu_products.py  gpu_images.py     one group of rows each
    peers_cuda.py   torch in a CUDA graph, and torch.compile
    gpu_worker.py   a process: prepares contenders, then times one whenever it is asked
    gpu_tables.py   in Markdown, as CSV
"""
