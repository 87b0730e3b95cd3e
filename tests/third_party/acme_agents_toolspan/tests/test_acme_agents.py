"""The whole test of an adapter: its contract."""

from toolspan.testing import adapter_contract

TestAcmeAgents = adapter_contract("acme_agents_toolspan:ADAPTER", "acme_program")
