"""Plain vendors: chat in OpenAI's shape at ``/chat/completions``, a bearer key, nothing else to say. One row each.

Hosts and names of variables are facts gathered from public catalogues (LLM 8); ``seen`` says by how many: 2 = two or
more independent ones, 1 = one, 0 = from memory, unverified. None has been called live.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Plain(msgspec.Struct, frozen=True):
    """``serves``: letters of ``ports/doors`` besides ``c``."""

    name: str
    base_url: str
    environment: str
    serves: str = ""
    seen: int = 2
    title: str = ""


PLAIN: Final = (
    Plain("abacus", "https://routellm.abacus.ai/v1", "ABACUS_API_KEY", "", 1),
    Plain("ai21", "https://api.ai21.com/studio/v1", "AI21_API_KEY"),
    Plain("ai302", "https://api.302.ai/v1", "AI302_API_KEY"),
    Plain("ai360", "https://ai.360.cn/v1", "AI360_API_KEY", "e"),
    Plain("aihubmix", "https://aihubmix.com/v1", "AIHUBMIX_API_KEY"),
    Plain("aimlapi", "https://api.aimlapi.com/v1", "AIML_API_KEY", "i", 1),
    Plain("alibaba", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", "r e i"),
    Plain("alibaba_cn", "https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", "r e i"),
    Plain("amazon_nova", "https://api.nova.amazon.com/v1", "NOVA_API_KEY"),
    Plain("baichuan", "https://api.baichuan-ai.com/v1", "BAICHUAN_API_KEY", "e"),
    Plain("baidu_qianfan", "https://qianfan.baidubce.com/v2", "QIANFAN_API_KEY", "e n"),
    Plain("bailing", "https://api.tbox.cn/api/llm/v1", "BAILING_API_TOKEN"),
    Plain("baseten", "https://inference.baseten.co/v1", "BASETEN_API_KEY"),
    Plain("berget", "https://api.berget.ai/v1", "BERGET_API_KEY", "", 1),
    Plain("byteplus", "https://ark.ap-southeast.bytepluses.com/api/v3", "ARK_API_KEY", "i v", 1),
    Plain("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    Plain("chutes", "https://llm.chutes.ai/v1", "CHUTES_API_KEY"),
    Plain("clarifai", "https://api.clarifai.com/v2/ext/openai/v1", "CLARIFAI_PAT"),
    Plain("clova", "https://clovastudio.stream.ntruss.com/v1/openai", "CLOVASTUDIO_API_KEY", "e", 0),
    Plain("cometapi", "https://api.cometapi.com/v1", "COMETAPI_KEY"),
    Plain("compactifai", "https://api.compactif.ai/v1", "COMPACTIFAI_API_KEY", "", 1),
    Plain("crusoe", "https://api.inference.crusoecloud.com/v1", "CRUSOE_API_KEY"),
    Plain("deepinfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", "e"),
    Plain("digitalocean", "https://inference.do-ai.run/v1", "DIGITALOCEAN_ACCESS_TOKEN"),
    Plain("edenai", "https://api.edenai.run/v3", "EDENAI_API_KEY"),
    Plain("evroc", "https://models.think.evroc.com/v1", "EVROC_API_KEY", "", 1),
    Plain("featherless", "https://api.featherless.ai/v1", "FEATHERLESS_API_KEY"),
    Plain("friendli", "https://api.friendli.ai/serverless/v1", "FRIENDLI_TOKEN"),
    Plain("gemini_openai", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", "e"),
    Plain("github_models", "https://models.github.ai/inference", "GITHUB_TOKEN", "e"),
    Plain("gmi", "https://api.gmi-serving.com/v1", "GMI_API_KEY"),
    Plain("helicone", "https://ai-gateway.helicone.ai/v1", "HELICONE_API_KEY"),
    Plain("heroku", "https://us.inference.heroku.com/v1", "HEROKU_INFERENCE_KEY", "e", 1),
    Plain("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN", "r"),
    Plain("hyperbolic", "https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY"),
    Plain("inception", "https://api.inceptionlabs.ai/v1", "INCEPTION_API_KEY"),
    Plain("inference_net", "https://api.inference.net/v1", "INFERENCE_API_KEY"),
    Plain("io_net", "https://api.intelligence.io.solutions/api/v1", "IOINTELLIGENCE_API_KEY"),
    Plain("ionos", "https://openai.inference.de-txl.ionos.com/v1", "IONOS_API_TOKEN", "e i", 1),
    Plain("kluster", "https://api.kluster.ai/v1", "KLUSTER_API_KEY"),
    Plain("krutrim", "https://cloud.olakrutrim.com/v1", "KRUTRIM_API_KEY", "", 1),
    Plain("lambda", "https://api.lambda.ai/v1", "LAMBDA_API_KEY", "", 1),
    Plain("lemonfox", "https://api.lemonfox.ai/v1", "LEMONFOX_API_KEY", "s i", 1),
    Plain("libertai", "https://api.libertai.io/v1", "LIBERTAI_API_KEY", "e", 1),
    Plain("lingyi", "https://api.lingyiwanwu.com/v1", "LINGYI_API_KEY"),
    Plain("llama_api", "https://api.llama.com/compat/v1", "LLAMA_API_KEY"),
    Plain("llmgateway", "https://api.llmgateway.io/v1", "LLMGATEWAY_API_KEY"),
    Plain("maritaca", "https://chat.maritaca.ai/api", "MARITACA_API_KEY", "", 1),
    Plain("mixlayer", "https://models.mixlayer.ai/v1", "MIXLAYER_API_KEY", "", 1),
    Plain("moark", "https://moark.com/v1", "MOARK_API_KEY", "", 1),
    Plain("modelscope", "https://api-inference.modelscope.cn/v1", "MODELSCOPE_API_KEY"),
    Plain("monsterapi", "https://llm.monsterapi.ai/v1", "MONSTER_API_KEY", "", 1),
    Plain("moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    Plain("moonshot_cn", "https://api.moonshot.cn/v1", "MOONSHOT_API_KEY"),
    Plain("morph", "https://api.morphllm.com/v1", "MORPH_API_KEY"),
    Plain("nanogpt", "https://nano-gpt.com/api/v1", "NANOGPT_API_KEY"),
    Plain("near_ai", "https://cloud-api.near.ai/v1", "NEARAI_API_KEY"),
    Plain("neuralwatt", "https://api.neuralwatt.com/v1", "NEURALWATT_API_KEY", "", 1),
    Plain("nscale", "https://inference.api.nscale.com/v1", "NSCALE_API_KEY", "i"),
    Plain("nvidia", "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY", "e"),
    Plain("opencode_zen", "https://opencode.ai/zen/v1", "OPENCODE_API_KEY"),
    Plain("ovhcloud", "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", "OVHCLOUD_API_KEY", "e"),
    Plain("parasail", "https://api.parasail.io/v1", "PARASAIL_API_KEY", "r", 1),
    Plain("perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY", "r"),
    Plain("poe", "https://api.poe.com/v1", "POE_API_KEY"),
    Plain("poolside", "https://inference.poolside.ai/v1", "POOLSIDE_API_KEY", "", 1),
    Plain("publicai", "https://api.publicai.co/v1", "PUBLICAI_API_KEY", "", 1),
    Plain("qiniu", "https://api.qnaigc.com/v1", "QINIU_API_KEY"),
    Plain("regolo", "https://api.regolo.ai/v1", "REGOLO_API_KEY", "e i", 1),
    Plain("reka", "https://api.reka.ai/v1", "REKA_API_KEY"),
    Plain("requesty", "https://router.requesty.ai/v1", "REQUESTY_API_KEY"),
    Plain("sakana", "https://api.sakana.ai/v1", "SAKANA_API_KEY", "", 1),
    Plain("sambanova", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", "e"),
    Plain("scaleway", "https://api.scaleway.ai/v1", "SCW_SECRET_KEY", "e s"),
    Plain("sensenova", "https://api.sensenova.cn/compatible-mode/v1", "SENSENOVA_API_KEY", "", 0),
    Plain("siliconflow", "https://api.siliconflow.com/v1", "SILICONFLOW_API_KEY", "e n i", 1),
    Plain("siliconflow_cn", "https://api.siliconflow.cn/v1", "SILICONFLOW_API_KEY", "e n i"),
    Plain("spark", "https://spark-api-open.xf-yun.com/v1", "SPARK_API_KEY"),
    Plain("stackit", "https://api.openai-compat.model-serving.eu01.onstackit.cloud/v1", "STACKIT_API_KEY", "e", 1),
    Plain("stepfun", "https://api.stepfun.com/v1", "STEPFUN_API_KEY", "s i"),
    Plain("streamlake", "https://vanchin.streamlake.ai/api/gateway/v1/endpoints", "STREAMLAKE_API_KEY", "", 1),
    Plain("synthetic", "https://api.synthetic.new/openai/v1", "SYNTHETIC_API_KEY"),
    Plain("tencent_hunyuan", "https://api.hunyuan.cloud.tencent.com/v1", "HUNYUAN_API_KEY", "e"),
    Plain("tencent_tokenhub", "https://tokenhub.tencentmaas.com/v1", "TENCENT_TOKENHUB_API_KEY", "", 1),
    Plain("tinfoil", "https://inference.tinfoil.sh/v1", "TINFOIL_API_KEY", "", 1),
    Plain("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", "e i n"),
    Plain("upstage", "https://api.upstage.ai/v1/solar", "UPSTAGE_API_KEY", "e"),
    Plain("v0", "https://api.v0.dev/v1", "V0_API_KEY"),
    Plain("venice", "https://api.venice.ai/api/v1", "VENICE_API_KEY", "i"),
    Plain("vercel", "https://ai-gateway.vercel.sh/v1", "AI_GATEWAY_API_KEY", "r e"),
    Plain("volcengine", "https://ark.cn-beijing.volces.com/api/v3", "ARK_API_KEY", "e i"),
    Plain("vultr", "https://api.vultrinference.com/v1", "VULTR_API_KEY", "", 1),
    Plain("wandb", "https://api.inference.wandb.ai/v1", "WANDB_API_KEY"),
    Plain("writer", "https://api.writer.com/v1", "WRITER_API_KEY", "", 0),
    Plain("xiaomi_mimo", "https://api.xiaomimimo.com/v1", "XIAOMI_API_KEY"),
    Plain("zai", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY"),
    Plain("zai_coding", "https://api.z.ai/api/coding/paas/v4", "ZAI_API_KEY"),
    Plain("zenmux", "https://zenmux.ai/api/v1", "ZENMUX_API_KEY", "", 1),
    Plain("zhipu", "https://open.bigmodel.cn/api/paas/v4", "ZHIPU_API_KEY", "e i"),
)
"""By name."""
