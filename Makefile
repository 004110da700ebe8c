# The targets of KCGCS: each calls a script of scripts/. Kbuild describes how the kernel modules themselves are built.

.PHONY: help toolchain kernels module test demo simulate bench lint clean distclean

help:
	@echo 'make demo        a cluster of virtual machines that shows what KCGCS does'
	@echo 'make test        all tests; only some: scripts/run-tests PART... (--list names them)'
	@echo 'make simulate    the protocol in simulated time: SEEDS=2000, FIRST_SEED=n, NODES=n'
	@echo 'make bench       measurements in virtual machines, also of TIPC and Corosync (these take hours, and 18 GB of'
	@echo '                 memory); without these two: scripts/run-bench; only one part: scripts/run-bench detection'
	@echo 'make lint        formatting and static checks'
	@echo 'make module      the kernel modules for the stock Debian kernel of the tests,'
	@echo '                 or for your own kernel: KDIR=<its build folder>'
	@echo 'make toolchain   only the compilers and QEMU (a Debian 13 root in the cache)'
	@echo 'make kernels     only the two kernels for the tests'
	@echo 'make clean       remove everything built from this checkout'
	@echo 'make distclean   remove the whole cache'
	@echo
	@echo 'These need Debian 12 or 13, and root or sudo. Whatever is missing is fetched and kept in'
	@echo '$${KCGCS_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/kcgcs} (about 9 GB).'

toolchain:
	@scripts/prepare-toolchain

kernels:
	@scripts/prepare-stock-kernel
	@scripts/prepare-debug-kernel

module:
ifdef KDIR
	@scripts/build-modules-for '$(KDIR)'
else
	@scripts/build-modules stock
endif

test:
	@scripts/run-tests

demo:
	@scripts/run-demo

# The script reads SEEDS, FIRST_SEED and NODES from its environment.
simulate:
	@scripts/simulate

bench:
	@scripts/run-bench
	@scripts/run-bench peers

lint:
	@scripts/lint

clean:
	@scripts/clean

distclean:
	@scripts/clean --all
